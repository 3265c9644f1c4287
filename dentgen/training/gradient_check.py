"""One batch before hours are spent: finite losses, a gradient for everything that is trained. Changes nothing.

Refuses to know optimisers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from dentgen.errors import TrainingError
from dentgen.training.data.rows import Batch
from dentgen.training.recipes.recipe import Recipe


def check_gradients(recipe: Recipe, batch: Batch, autocast: Callable[[], AbstractContextManager[Any]]) -> None:
    """Compute one batch forth and back, and throw the result away.

    Raises:
        TrainingError: If a loss or a gradient is not finite, or a trained parameter gets no gradient.
    """
    with autocast():
        losses = recipe(batch)
    values = {name: float(value.detach()) for name, value in losses.items()}
    strange = [f"{name} {value}" for name, value in values.items() if not math.isfinite(value)]
    if strange:
        raise TrainingError(f"the first batch: found losses {', '.join(strange)}, expected finite ones")
    losses["loss"].backward()
    trained = [(name, parameter) for name, parameter in recipe.named_parameters() if parameter.requires_grad]
    without = [name for name, parameter in trained if parameter.grad is None]
    if without and not recipe.some_unused:
        raise TrainingError(
            f"the first batch: found no gradient for {without[:3]}, expected one for all that is trained"
        )
    wild = [name for name, p in trained if p.grad is not None and not bool(torch.isfinite(p.grad).all())]
    if wild:
        raise TrainingError(f"the first batch: found gradients of {wild[:3]} that are not finite")
    recipe.zero_grad(set_to_none=True)
