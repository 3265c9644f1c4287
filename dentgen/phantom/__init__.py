"""Procedural jaws rendered into condition records."""
