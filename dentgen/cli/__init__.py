"""The command line: one command, one call."""
