"""The Ray side of a build: actors, heartbeats, crash policy, commit tasks."""
