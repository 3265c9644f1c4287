"""The stream diffusion engine, on tensors alone: it imports torch and numpy, no files and no model loaders."""
