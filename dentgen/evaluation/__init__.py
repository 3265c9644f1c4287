"""Evaluation of generated images: agreement with their maps, realism, and use as training data."""
