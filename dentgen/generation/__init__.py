"""From condition records to generated samples: models, canvases, samples, one unit."""
