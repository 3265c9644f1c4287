"""Condition records: readers, validation, label maps, and preparation for a model."""
