"""What a run has learnt and measured: weights, averages, optimiser, schedule, scaler and losses, as one checkpoint."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from dentgen.errors import TrainingError
from dentgen.spec.train import TrainSpec
from dentgen.training.bundle_fingerprint import FrozenParts
from dentgen.training.checkpoint import load_checkpoint, save_checkpoint
from dentgen.training.data.rows import Batch
from dentgen.training.journal import Journal
from dentgen.training.recipes.recipe import Recipe, over_shares

_LOG = logging.getLogger(__name__)
_AUTOCAST: Final = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Worker:
    """One of the processes that train together.

    Attributes:
        rank: Its number.
        count: Number of processes.
        device: Where it computes.
    """

    rank: int
    count: int
    device: torch.device


class _Trained:
    """A recipe's trained weights as a part of a checkpoint; frozen ones are in the bundle."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def state_dict(self) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in self._recipe.named_parameters() if value.requires_grad}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        if state.keys() != self.state_dict().keys():
            raise KeyError("other trained parameters")
        self._recipe.load_state_dict(state, strict=False)


class RunningLosses:
    """Losses since the last line of the log; they stay on the device, so that no step waits for them."""

    def __init__(self, worker: Worker, unchecked: frozenset[str], shares: Mapping[str, str]) -> None:
        """Start without losses; those in ``unchecked`` may be infinite, those in ``shares`` are of a share of rows."""
        self._worker, self._unchecked, self._shares = worker, unchecked, shares
        self._values: dict[str, list[Tensor]] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add the losses of one step."""
        for name, value in values.items():
            self._values.setdefault(name, []).append(value)

    def means(self) -> dict[str, float]:
        """Means over the steps since the last call and over all workers, which must all call.

        Raises:
            TrainingError: If one is not finite, so that it reaches neither checkpoint nor bundle.
        """
        means = self.current()
        self._values = {}
        return means

    def current(self) -> dict[str, float]:
        """Means as ``means`` returns them, without starting over.

        Raises:
            TrainingError: If one is not finite.
        """
        means = {name: float(self._over_workers(torch.stack(values).mean())) for name, values in self._values.items()}
        bad = {n: value for n, value in means.items() if n not in self._unchecked and not math.isfinite(value)}
        if bad:
            raise TrainingError(
                "training diverged",
                key=", ".join(bad),
                found=", ".join(map(str, bad.values())),
                expected="finite values",
                advice="the last checkpoint is from before; lower learning_rate",
            )
        return over_shares(means, self._shares)

    def state_dict(self) -> dict[str, Tensor]:
        """Values of every loss, (steps,) each."""
        return {name: torch.stack(values) for name, values in self._values.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from ``state_dict``."""
        self._values = {name: list(values.to(self._worker.device)) for name, values in state.items()}

    def _over_workers(self, value: Tensor) -> Tensor:
        if self._worker.count > 1:
            distributed.all_reduce(value)
            value = value / self._worker.count
        return value


class TrainingState:
    """A recipe with its optimiser, learning rate schedule, averaged weights and gradient scaler."""

    def __init__(self, recipe: Recipe, spec: TrainSpec, worker: Worker) -> None:
        """Set up the first step."""
        self.recipe, self.spec, self.worker = recipe, spec, worker
        self._parameters = [p for p in recipe.parameters() if p.requires_grad]
        _LOG.info("%s: %.2f M trained parameters", spec.recipe, sum(p.numel() for p in self._parameters) / 1e6)
        groups = recipe.parameter_groups(spec.learning_rate)
        self._optimiser = torch.optim.AdamW(groups, weight_decay=spec.weight_decay)
        self._schedule = get_cosine_schedule_with_warmup(self._optimiser, spec.warmup, spec.steps)
        self._average = EMAModel(self._parameters, decay=spec.ema, use_ema_warmup=True, power=0.75)
        on_gpu = worker.device.type == "cuda"
        self._scaler = torch.amp.GradScaler(worker.device.type, enabled=spec.dtype == "float16" and on_gpu)
        # the scaler skips steps with infinite gradients
        unchecked = frozenset({"gradient_norm"} if self._scaler.is_enabled() else ())
        self.losses = RunningLosses(worker, unchecked, recipe.shares)
        self._shared: nn.Module = recipe
        if worker.count > 1:
            self._shared = DistributedDataParallel(recipe, find_unused_parameters=recipe.cycle > 1)
        self._parts: dict[str, Any] = {
            "frozen": FrozenParts(spec), "trained": _Trained(recipe), "optimiser": self._optimiser,
            "schedule": self._schedule, "average": self._average, "scaler": self._scaler, "losses": self.losses,
        }  # fmt: skip

    def load(self) -> tuple[int, list[dict[str, float]]]:
        """Load the checkpoint; returns steps done and the log so far."""
        found = load_checkpoint(self.spec, self._parts)
        self._average.to(self.worker.device)
        return found

    def save(self, step: int, journal: Journal) -> None:
        """Write the checkpoint and the lines of the log."""
        save_checkpoint(self.spec, step, self._parts, journal.rows)
        journal.write()

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision, if the spec asks for it."""
        dtype = _AUTOCAST.get(self.spec.dtype)
        return torch.autocast(self.worker.device.type, dtype) if dtype else nullcontext()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block, the averaged weights replace the trained ones."""
        self._average.store(self._parameters)
        self._average.copy_to(self._parameters)
        try:
            yield
        finally:
            self._average.restore(self._parameters)

    def step(self, pieces: list[Batch]) -> float:
        """One optimiser step; returns its learning rate."""
        rate = float(self._schedule.get_last_lr()[0])
        self._optimiser.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for number, piece in enumerate(pieces, 1):
            for name, value in self._gradients(piece, len(pieces), is_last=number == len(pieces)).items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value / len(pieces)
        self._scaler.unscale_(self._optimiser)
        sums["gradient_norm"] = nn.utils.clip_grad_norm_(self._parameters, self.spec.clip).detach()
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self._schedule.step()
        self._average.step(self._parameters)
        self.losses.add(sums)
        return rate

    def _gradients(self, piece: Batch, parts: int, *, is_last: bool) -> dict[str, Tensor]:
        """Accumulate a piece's gradients; workers synchronise them with the last piece only."""
        shared = self._shared
        no_sync = shared.no_sync() if isinstance(shared, DistributedDataParallel) and not is_last else nullcontext()
        with no_sync:
            with self.autocast():
                losses: dict[str, Tensor] = shared(piece)
            self._scaler.scale(losses["loss"] / parts).backward()
        return {name: value.detach() for name, value in losses.items()}
