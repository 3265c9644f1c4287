"""What users write: build and training specs."""
