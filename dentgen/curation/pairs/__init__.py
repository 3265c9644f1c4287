"""Pairs of pictures of one mouth under two lights, which a teacher draws and a filter accepts."""
