"""Benchmark of the diffusion engine against its bare networks and diffusers' pipeline."""
