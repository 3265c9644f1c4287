"""A check before training: one batch must give finite losses and a gradient for every trained parameter."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

import torch

from dentgen.errors import TrainingError
from dentgen.training.data.rows import Batch
from dentgen.training.recipes.recipe import Recipe

#: Parameters named in an error.
_NAMED: Final = 3


def check_gradients(recipe: Recipe, batch: Batch, autocast: Callable[[], AbstractContextManager[Any]]) -> None:
    """Run one batch forward and backward and discard the gradients.

    Raises:
        TrainingError: If a loss or a gradient is not finite, or a trained parameter gets no gradient.
    """
    with autocast():
        losses = recipe(batch)
    values = {name: float(value.detach()) for name, value in losses.items()}
    bad = [f"{name} {value}" for name, value in values.items() if not math.isfinite(value)]
    if bad:
        raise _error("losses", ", ".join(bad), "finite losses")
    losses["loss"].backward()
    trained = [(name, parameter) for name, parameter in recipe.named_parameters() if parameter.requires_grad]
    without = [name for name, parameter in trained if parameter.grad is None]
    if without and not recipe.some_unused:
        raise _error(_short(without), "no gradient", "a gradient for every trained parameter")
    infinite = [name for name, p in trained if p.grad is not None and not bool(torch.isfinite(p.grad).all())]
    if infinite:
        raise _error(_short(infinite), "infinite gradients or NaN", "finite gradients")
    recipe.zero_grad(set_to_none=True)


def _error(key: str, found: str, expected: str) -> TrainingError:
    return TrainingError("the first batch cannot be trained on", key=key, found=found, expected=expected)


def _short(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
