"""Rows that a reward counts for: their timesteps, their number, and weights that keep the noise loss unbiased."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from dentgen.spec.train_reward import RewardSpec
from dentgen.spec.train_sections import TRAIN_STEPS
from dentgen.training.data.rows import Batch
from dentgen.training.noising import Noising


class RewardRows:
    """Timesteps of every row, by seed, step and row, and what follows from them.

    With ``reward_share`` a fixed number of each step's rows, spread evenly over them, draws from the window
    ``reward_timesteps`` and all others from outside; without it, every row draws from all timesteps.
    """

    def __init__(self, spec: RewardSpec, noising: Noising, device: torch.device) -> None:
        """Remember where the window is."""
        self._spec, self._noising, self._device = spec, noising, device
        self._low, high = spec.reward_timesteps
        self._width = high - self._low + 1

    def timesteps(self, batch: Batch) -> Int64[Tensor, " b"]:
        """Timesteps of a batch's rows."""
        return self._drawn(batch.step, range(batch.first, batch.first + len(batch))).to(self._device)

    def rewarded(self, timesteps: Int64[Tensor, " b"]) -> Bool[Tensor, " b"]:
        """Whether each timestep lies in the window."""
        return (timesteps >= self._low) & (timesteps < self._low + self._width)

    def weights(self, timesteps: Int64[Tensor, " b"]) -> Float[Tensor, " b"] | None:
        """Probability of each timestep under the uniform distribution over that under which it was drawn.

        None if both are the same. The expected weighted loss is the mean over all timesteps, whatever the share.
        """
        count, spec = self._spec.rewarded_rows, self._spec
        if count is None:
            return None
        usual = self._width / TRAIN_STEPS
        inside, outside = usual * spec.batch / count, (1 - usual) * spec.batch / (spec.batch - count)
        return torch.where(self.rewarded(timesteps), inside, outside)

    def in_step(self, step: int) -> int:
        """Number of rewarded rows of a whole step, also those of other workers and parts."""
        if self._spec.rewarded_rows is not None:
            return self._spec.rewarded_rows
        return int(self.rewarded(self._drawn(step, range(self._spec.batch))).sum())

    def _drawn(self, step: int, rows: range) -> Int64[Tensor, " b"]:
        generators = self._noising.row_generators("timestep", step, rows)
        if self._spec.rewarded_rows is None:
            return torch.tensor([int(rng.integers(TRAIN_STEPS)) for rng in generators])
        drawn = []
        for row, rng in zip(rows, generators, strict=True):
            if self._is_inside(row):
                drawn.append(self._low + int(rng.integers(self._width)))
            else:
                value = int(rng.integers(TRAIN_STEPS - self._width))
                drawn.append(value if value < self._low else value + self._width)
        return torch.tensor(drawn)

    def _is_inside(self, row: int) -> bool:
        batch, count = self._spec.batch, self._spec.rewarded_rows or 0
        return (row + 1) * count // batch > row * count // batch
