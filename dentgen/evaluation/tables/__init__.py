"""Decision tables T2 to T6: ways to make the same pictures, trained and measured alike, side by side."""
