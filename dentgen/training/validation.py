"""Validation while training: mean losses and a sheet of pictures, always of the same rows with the same noise.

Refuses to know recipes.
"""

from __future__ import annotations

import torch

from dentgen.spec.train import TrainSpec
from dentgen.training.data.rows import TrainingData
from dentgen.training.journal import Journal
from dentgen.training.recipes.recipe import Recipe


@torch.no_grad()
def validate(recipe: Recipe, held_out: TrainingData, spec: TrainSpec, journal: Journal, step: int) -> None:
    """Log losses and keep a sheet of the first rows of the held-out records."""
    recipe.eval()
    firsts = range(0, spec.validate_records, spec.batch)
    batches = [held_out.batch(0, first, min(spec.batch, spec.validate_records - first)) for first in firsts]
    losses = [recipe(batch) for batch in batches]
    shares = [len(batch) / spec.validate_records for batch in batches]
    means = {
        name: sum(float(part[name]) * share for part, share in zip(losses, shares, strict=True)) for name in losses[0]
    }
    journal.line(step, {f"validation_{name}": value for name, value in means.items()})
    columns = zip(*(recipe.preview(batch) for batch in batches), strict=True)
    journal.pictures(step, [torch.cat(parts) for parts in columns])
    recipe.train()
