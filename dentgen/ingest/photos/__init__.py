"""Annotated photographs as condition records."""
