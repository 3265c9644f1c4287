"""Benchmarks of the diffusion engine."""
