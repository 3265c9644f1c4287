"""Training of bundle parts: data, losses, recipes and one resumable loop."""
