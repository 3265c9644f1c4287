"""Jaw scans as condition records."""
