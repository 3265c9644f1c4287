"""The check before training, on recipes of one layer."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from dentgen.errors import TrainingError
from dentgen.training.data.rows import Batch
from dentgen.training.gradient_check import check_gradients
from dentgen.training.recipes.recipe import Recipe

BATCH = Batch(0, 0, [])


class OneLayer(Recipe):
    """Loss is ``factor`` times the sum of the used layer's weights."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor, self.used, self.unused = factor, nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)
        nn.init.ones_(self.used.weight)
        self.unused.requires_grad_(False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        loss = (self.used.weight * self.factor).sum()
        return {"loss": loss, "mse": loss.detach()}

    def export(self) -> None:
        """Nothing."""

    def preview(self, batch: Batch) -> list[Tensor]:
        return []


class InfiniteSlope(OneLayer):
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": (self.used.weight - self.used.weight.detach()).abs().sqrt().sum()}


def test_a_sound_recipe_keeps_no_gradients() -> None:
    recipe = OneLayer(2.0)
    check_gradients(recipe, [BATCH], nullcontext)
    assert all(parameter.grad is None for parameter in recipe.parameters())
    assert torch.equal(recipe.used.weight, torch.ones(1, 2))


def test_losses_that_are_not_finite_are_named() -> None:
    with pytest.raises(TrainingError) as caught:
        check_gradients(OneLayer(float("inf")), [BATCH], nullcontext)
    assert (caught.value.key, caught.value.found) == ("losses", "loss inf, mse inf")


def test_trained_parameters_without_gradient_are_named() -> None:
    recipe = OneLayer(1.0)
    recipe.unused.requires_grad_(True)
    with pytest.raises(TrainingError) as caught:
        check_gradients(recipe, [BATCH], nullcontext)
    assert caught.value.key == "unused.weight"


class InTurn(OneLayer):
    """Trains one layer in even steps and the other one in odd steps."""

    cycle = 2

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        layer = self.unused if batch.step % 2 else self.used
        return {"loss": layer.weight.sum()}


def test_parts_that_are_trained_in_turn_get_their_gradients_within_a_cycle() -> None:
    recipe = InTurn(1.0)
    recipe.unused.requires_grad_(True)
    check_gradients(recipe, [Batch(step, 0, []) for step in range(2)], nullcontext)
    with pytest.raises(TrainingError) as caught:
        check_gradients(recipe, [Batch(step, 0, []) for step in (0, 2)], nullcontext)
    assert caught.value.key == "unused.weight"


def test_infinite_gradients_are_named() -> None:
    with pytest.raises(TrainingError) as caught:
        check_gradients(InfiniteSlope(1.0), [BATCH], nullcontext)
    assert caught.value.key == "used.weight"
