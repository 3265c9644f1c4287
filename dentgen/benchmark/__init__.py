"""Benchmarks of engine, builds and condition rendering."""
