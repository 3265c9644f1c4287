"""Readers of annotation formats, one module each; all give ``AnnotatedPhoto``."""
