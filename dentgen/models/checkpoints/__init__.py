"""Reading, translating and importing published weight files."""
