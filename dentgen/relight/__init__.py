"""Condition records with new lighting maps (``dentgen relight``)."""
