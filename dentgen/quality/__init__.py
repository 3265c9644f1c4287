"""Metrics on label maps and generated images."""
