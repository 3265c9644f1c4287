"""Validation while training: mean losses and a sheet of pictures, always of the same rows with the same noise.

Refuses to know recipes.
"""

from __future__ import annotations

import torch

from dentgen.training.data import TrainingData
from dentgen.training.journal import Journal
from dentgen.training.recipe import Recipe
from dentgen.training.spec import TrainSpec


@torch.no_grad()
def validate(recipe: Recipe, held_out: TrainingData, spec: TrainSpec, journal: Journal, step: int) -> None:
    """Log losses and keep a sheet of the first rows of the held-out records."""
    recipe.eval()
    batch = held_out.batch(0, 0, min(spec.validate_records, spec.batch))
    losses = recipe(batch)
    journal.line(step, {f"validation_{name}": float(value) for name, value in losses.items()})
    journal.pictures(step, recipe.preview(batch))
    recipe.train()
