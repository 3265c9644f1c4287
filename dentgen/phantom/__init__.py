"""Procedural jaws, rendered into condition records (``dentgen phantom``)."""
