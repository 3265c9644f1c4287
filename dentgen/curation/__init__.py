"""Which samples of a build to use: near-duplicates, selections, and what a model remembers of its training pictures."""
