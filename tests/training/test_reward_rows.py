"""Rewarded rows: where their timesteps lie, how many there are, and an unbiased noise loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dentgen.training.data.rows import Batch
from dentgen.training.noising import Noising
from dentgen.training.reward_rows import RewardRows
from tests.training.runs import CPU, train_spec


def rows_of(**values: Any) -> RewardRows:
    spec = train_spec("nowhere", Path("nowhere"), "reward", **values)
    return RewardRows(spec, Noising(spec, CPU), CPU)


def steps_of(rows: RewardRows, batch: int, steps: int) -> list[torch.Tensor]:
    return [rows.timesteps(Batch(step, 0, [None] * batch)) for step in range(steps)]  # type: ignore[list-item]


def test_without_a_share_timesteps_are_those_of_the_adapter_recipe() -> None:
    spec = train_spec("nowhere", Path("nowhere"), "adapter", batch=8)
    batch = Batch(3, 0, [None] * 8)  # type: ignore[list-item]
    expected = Noising(spec, CPU).noised(batch, torch.zeros(8, 4, 8, 8)).timesteps
    rows = rows_of(batch=8)
    assert torch.equal(rows.timesteps(batch), expected)
    assert rows.weights(expected) is None


def test_the_window_includes_both_ends() -> None:
    rows = rows_of(reward_timesteps=[100, 200])
    found = rows.rewarded(torch.tensor([99, 100, 150, 200, 201]))
    assert found.tolist() == [False, True, True, True, False]


@pytest.mark.parametrize(("share", "batch", "count"), [(0.5, 4, 2), (0.3, 10, 3), (0.25, 16, 4), (0.9, 16, 14)])
def test_a_share_fixes_the_number_of_rewarded_rows(share: float, batch: int, count: int) -> None:
    rows = rows_of(reward_share=share, batch=batch, reward_timesteps=[300, 420])
    drawn = steps_of(rows, batch, 50)
    assert {int(rows.rewarded(timesteps).sum()) for timesteps in drawn} == {count} == {rows.in_step(0)}
    inside = torch.cat([timesteps[rows.rewarded(timesteps)] for timesteps in drawn])
    outside = torch.cat([timesteps[~rows.rewarded(timesteps)] for timesteps in drawn])
    assert (int(inside.min()) >= 300, int(inside.max()) <= 420) == (True, True)
    assert bool(((outside < 300) | (outside > 420)).all())
    assert (bool((outside < 300).any()), bool((outside > 420).any())) == (True, True)


def test_workers_have_equal_numbers_and_the_draws_of_one() -> None:
    rows = rows_of(reward_share=0.5, batch=8)
    whole = steps_of(rows, 8, 1)[0]
    parts = [rows.timesteps(Batch(0, first, [None] * 4)) for first in (0, 4)]  # type: ignore[list-item]
    assert torch.equal(torch.cat(parts), whole)
    assert [int(rows.rewarded(part).sum()) for part in parts] == [2, 2]


def test_without_a_share_the_rows_of_the_whole_step_are_counted() -> None:
    rows = rows_of(batch=64)
    for step, timesteps in enumerate(steps_of(rows, 64, 5)):
        assert rows.in_step(step) == int(rows.rewarded(timesteps).sum()) > 0


@pytest.mark.parametrize("window", [(0, 200), (700, 999), (300, 310)])
def test_weights_make_the_noise_loss_that_of_uniform_timesteps(window: tuple[int, int]) -> None:
    """The expectation of any function of the timestep, computed exactly: each part's weight times its probability."""
    rows = rows_of(reward_share=0.5, batch=4, reward_timesteps=list(window))
    every = torch.arange(1000)
    weights, inside = rows.weights(every), rows.rewarded(every)
    assert weights is not None
    drawn_with = torch.where(inside, 0.5 / inside.sum(), 0.5 / (~inside).sum())
    torch.testing.assert_close(weights * drawn_with, torch.full((1000,), 1e-3))
