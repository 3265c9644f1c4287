"""Finished builds and condition sets in the layouts that trainers of other projects read."""
