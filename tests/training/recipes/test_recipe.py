"""Every recipe fills the interface that the loop uses."""

from __future__ import annotations

import inspect

import pytest

from dentgen.training import worker
from dentgen.training.recipes.recipe import Recipe, over_shares

RECIPES = sorted(
    (
        kind
        for kind in vars(worker).values()
        if isinstance(kind, type) and issubclass(kind, Recipe) and kind is not Recipe
    ),
    key=lambda kind: kind.__name__,
)


def test_the_worker_knows_recipes() -> None:
    assert len(RECIPES) >= 7


@pytest.mark.parametrize("kind", RECIPES)
@pytest.mark.parametrize("name", ["forward", "export", "preview"])
def test_recipes_take_what_the_loop_gives(kind: type[Recipe], name: str) -> None:
    assert not inspect.isabstract(kind)
    expected, found = (list(inspect.signature(getattr(owner, name)).parameters) for owner in (Recipe, kind))
    assert found == expected


def test_figures_of_a_share_of_the_rows_are_means_over_those() -> None:
    shares = {"reward": "rewarded", "lighting": "rewarded"}
    means = {"loss": 2.0, "rewarded": 0.25, "reward": 0.1, "lighting": 0.0}
    assert over_shares(means, shares) == {"loss": 2.0, "rewarded": 0.25, "reward": 0.4, "lighting": 0.0}
    assert over_shares(means | {"rewarded": 0.0}, shares) == {"loss": 2.0, "rewarded": 0.0}
