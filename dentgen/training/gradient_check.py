"""A check before training: first batches must give finite losses and a gradient for every trained parameter."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Final

import torch

from dentgen.errors import TrainingError
from dentgen.training.data.rows import Batch
from dentgen.training.recipes.recipe import Recipe

#: Parameters named in an error.
_NAMED: Final = 3


def check_gradients(
    recipe: Recipe, batches: Iterable[Batch], autocast: Callable[[], AbstractContextManager[Any]]
) -> None:
    """Run batches forward and backward and discard the gradients.

    Args:
        recipe: What is trained.
        batches: One for each step of ``recipe.cycle``.
        autocast: Context of the forward pass.

    Raises:
        TrainingError: If a loss or a gradient is not finite, or a trained parameter gets no gradient in any of them.
    """
    for batch in batches:
        _check_losses(recipe, batch, autocast)
    trained = [(name, parameter) for name, parameter in recipe.named_parameters() if parameter.requires_grad]
    without = [name for name, parameter in trained if parameter.grad is None]
    if without:
        raise _error(_short(without), "no gradient", "a gradient for every trained parameter")
    infinite = [name for name, p in trained if p.grad is not None and not bool(torch.isfinite(p.grad).all())]
    if infinite:
        raise _error(_short(infinite), "infinite gradients or NaN", "finite gradients")
    recipe.zero_grad(set_to_none=True)


def _check_losses(recipe: Recipe, batch: Batch, autocast: Callable[[], AbstractContextManager[Any]]) -> None:
    """Add a batch's gradients, if its losses are finite."""
    with autocast():
        losses = recipe(batch)
    values = {name: float(value.detach()) for name, value in losses.items()}
    bad = [f"{name} {value}" for name, value in values.items() if not math.isfinite(value)]
    if bad:
        raise _error("losses", ", ".join(bad), "finite losses")
    losses["loss"].backward()


def _error(key: str, found: str, expected: str) -> TrainingError:
    return TrainingError("the first batches cannot be trained on", key=key, found=found, expected=expected)


def _short(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
