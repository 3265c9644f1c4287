"""Measurements of what generated images are worth."""
