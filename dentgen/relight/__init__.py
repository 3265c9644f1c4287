"""Condition records under other lights."""
