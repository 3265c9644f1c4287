"""The stream diffusion engine: tensors only. It knows neither files nor model loaders, and imports torch and numpy alone."""
