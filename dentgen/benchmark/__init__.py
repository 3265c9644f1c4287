"""The engine against its own networks and against diffusers. Runs where there is neither Ray nor a network."""
