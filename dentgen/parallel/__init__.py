"""Parallel maps over the processes of this machine or the nodes of a Ray cluster."""
