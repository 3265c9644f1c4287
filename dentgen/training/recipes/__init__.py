"""One module per training recipe."""
