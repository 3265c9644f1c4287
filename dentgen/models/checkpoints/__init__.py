"""Reading, converting and importing published checkpoint files."""
