"""Training of the miniature and its judges: data, losses, recipes and one resumable loop."""
