"""A run's state, on a recipe of one layer: averages, means of losses, what a checkpoint holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.optimization import get_cosine_schedule_with_warmup
from torch import Tensor, nn

from dentgen.errors import TrainingError
from dentgen.training.data.rows import Batch
from dentgen.training.journal import Journal
from dentgen.training.recipes.recipe import Recipe
from dentgen.training.training_state import RunningLosses, TrainingState, Worker
from tests.training.runs import CPU, train_spec, weights_of

ALONE = Worker(0, 1, CPU)
BATCH = Batch(0, 0, [])


class OneLayer(Recipe):
    """Trains a layer towards 0, next to a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        self.trained, self.frozen = nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
        nn.init.ones_(self.trained.weight)
        nn.init.zeros_(self.trained.bias)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self.trained.weight.square().sum() + self.trained.bias.square().sum()}

    def export(self) -> None:
        """Nothing."""

    def preview(self, batch: Batch) -> list[Tensor]:
        return []


def weight_of(state: TrainingState) -> Tensor:
    weight: Tensor = state.recipe.get_parameter("trained.weight")
    return weight


def spec_of(folder: Path, **values: Any) -> Any:
    """An autoencoder's run, whose recipe reads no part of a bundle."""
    return train_spec("nowhere", folder, "autoencoder", **values)


def test_steps_are_those_of_adamw(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, learning_rate=0.01, weight_decay=0.1, warmup=2, steps=6, clip=0.5)
    state, plain = TrainingState(OneLayer(), spec, ALONE), OneLayer()
    optimiser = torch.optim.AdamW(plain.trained.parameters(), lr=0.01, weight_decay=0.1)
    schedule = get_cosine_schedule_with_warmup(optimiser, 2, 6)
    for _ in range(6):
        rate = state.step([BATCH, BATCH])
        assert rate == schedule.get_last_lr()[0]
        optimiser.zero_grad()
        plain(BATCH)["loss"].backward()
        nn.utils.clip_grad_norm_(plain.trained.parameters(), 0.5)
        optimiser.step()
        schedule.step()
    torch.testing.assert_close(weight_of(state), plain.trained.weight)


def test_averaged_weights_are_in_place_within_the_block_only(tmp_path: Path) -> None:
    recipe = OneLayer()
    state = TrainingState(recipe, spec_of(tmp_path, learning_rate=0.1, warmup=0, ema=0.9), ALONE)
    for _ in range(4):
        state.step([BATCH])
    trained = recipe.trained.weight.detach().clone()
    with state.averaged():
        assert bool((recipe.trained.weight > trained).all()), "the average lags behind"
    assert torch.equal(recipe.trained.weight, trained)
    with pytest.raises(RuntimeError), state.averaged():
        raise RuntimeError
    assert torch.equal(recipe.trained.weight, trained)


def test_a_checkpoint_holds_what_is_trained_and_resumes_exactly(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, learning_rate=0.1, warmup=0)
    whole, cut = TrainingState(OneLayer(), spec, ALONE), TrainingState(OneLayer(), spec, ALONE)
    for _ in range(4):
        whole.step([BATCH])
    cut.step([BATCH])
    with Journal(spec, 0, [{"step": 1.0, "loss": 4.0}]) as journal:
        cut.save(1, journal)
    assert set(weights_of(tmp_path / "autoencoder")) == {"trained.weight", "trained.bias"}
    resumed = TrainingState(OneLayer(), spec, ALONE)
    assert resumed.load() == (1, [{"step": 1.0, "loss": 4.0}])
    for _ in range(3):
        resumed.step([BATCH])
    assert torch.equal(weight_of(resumed), weight_of(whole))
    assert resumed.losses.means() == whole.losses.means(), "those before the checkpoint count too"
    with resumed.averaged(), whole.averaged():
        assert torch.equal(weight_of(resumed), weight_of(whole))


def test_means_start_over_and_current_ones_do_not() -> None:
    losses = RunningLosses(ALONE, frozenset(), {})
    for value in (1.0, 2.0, 6.0):
        losses.add({"loss": torch.tensor(value)})
    assert losses.current() == losses.means() == {"loss": 3.0}
    losses.add({"loss": torch.tensor(5.0)})
    assert losses.means() == {"loss": 5.0}


def test_figures_of_a_share_of_the_rows_are_means_over_those_of_all_steps() -> None:
    losses = RunningLosses(ALONE, frozenset(), {"reward": "rewarded"})
    for share, value in ((0.5, 0.2), (0.0, 0.0), (0.25, 0.4)):
        losses.add({"rewarded": torch.tensor(share), "reward": torch.tensor(share * value)})
    assert losses.current()["reward"] == pytest.approx((0.5 * 0.2 + 0.25 * 0.4) / 0.75)
    assert losses.means()["rewarded"] == 0.25
    losses.add({"rewarded": torch.tensor(0.0), "reward": torch.tensor(0.0)})
    assert losses.means() == {"rewarded": 0.0}


def test_losses_that_are_not_finite_are_named_unless_they_may_be() -> None:
    losses = RunningLosses(ALONE, frozenset({"gradient_norm"}), {"reward": "rewarded"})
    losses.add({"gradient_norm": torch.tensor(float("inf")), "loss": torch.tensor(1.0)})
    assert losses.current()["loss"] == 1.0
    losses.add({"gradient_norm": torch.tensor(1.0), "loss": torch.tensor(float("nan"))})
    with pytest.raises(TrainingError) as caught:
        losses.means()
    assert (caught.value.key, caught.value.found) == ("loss", "nan")


def test_autocast_is_off_in_float32(tmp_path: Path) -> None:
    for dtype, expected in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        state = TrainingState(OneLayer(), spec_of(tmp_path, dtype=dtype), ALONE)
        with state.autocast():
            assert (torch.ones(1, 1) @ torch.ones(1, 1)).dtype is expected
