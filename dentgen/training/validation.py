"""Validation during training: mean losses and a preview, always of the same rows with the same noise."""

from __future__ import annotations

import torch

from dentgen.spec.train import TrainSpec
from dentgen.training.data.rows import TrainingData
from dentgen.training.journal import Journal
from dentgen.training.recipes.recipe import Recipe, over_shares


@torch.no_grad()
def validate(recipe: Recipe, held_out: TrainingData, spec: TrainSpec, journal: Journal, step: int) -> None:
    """Log losses and write a preview of the first held-out rows."""
    recipe.eval()
    firsts = range(0, spec.validate_records, spec.batch)
    batches = [
        held_out.batch(0, first, min(spec.batch, spec.validate_records - first), prefetch=False) for first in firsts
    ]
    losses = [recipe(batch) for batch in batches]
    shares = [len(batch) / spec.validate_records for batch in batches]
    means = {
        name: sum(float(part[name]) * share for part, share in zip(losses, shares, strict=True)) for name in losses[0]
    }
    means = over_shares(means, recipe.shares)
    journal.line(step, {f"validation_{name}": value for name, value in means.items()})
    columns = zip(*(recipe.preview(batch) for batch in batches), strict=True)
    journal.pictures(step, [torch.cat(parts) for parts in columns])
    recipe.train()
