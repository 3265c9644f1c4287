"""Benchmarks of the engine, builds, the pipeline's overhead, and condition rendering and preparation."""
