"""The stream diffusion engine: tensors only, with torch and numpy alone; it knows neither files nor model loaders."""
