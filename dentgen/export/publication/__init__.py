"""Publication of finished builds on the Hugging Face hub: what is published, where, and how it gets there."""
