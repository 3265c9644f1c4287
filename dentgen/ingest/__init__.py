"""Other people's data as condition records."""
