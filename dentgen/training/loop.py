"""One resumable training loop for every recipe, for one process or several.

A step's randomness is named by its number, and the checkpoint holds weights, averages, optimiser, log and step, so a
run that was killed goes on as if it had not been. Refuses to know what is trained and who started the workers.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from dentgen.errors import SpecError, TrainingError
from dentgen.spec.train import TrainSpec
from dentgen.training.bundle_fingerprint import FrozenParts
from dentgen.training.checkpoint import load_checkpoint, save_checkpoint
from dentgen.training.data.rows import Batch, TrainingData
from dentgen.training.gradient_check import check_gradients
from dentgen.training.journal import Journal
from dentgen.training.recipes.recipe import Recipe
from dentgen.training.validation import validate

_LOG = logging.getLogger(__name__)
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Worker:
    """One of the processes that train together."""

    rank: int
    count: int
    device: torch.device


def train(
    recipe: Recipe, data: TrainingData, spec: TrainSpec, worker: Worker, held_out: TrainingData | None = None
) -> None:
    """Run a recipe to its last step, from its checkpoint if there is one, and export it.

    Args:
        recipe: What is trained.
        data: Its rows.
        spec: The run.
        worker: Which of the processes this one is.
        held_out: Rows for previews and validation losses.
    """
    training = _Training(recipe, spec, worker)
    start, rows = training.load()
    if start == 0:
        check_gradients(recipe, _piece(data, spec, worker, 0, 0), training.autocast)
    journal = Journal(spec, start, rows) if worker.rank == 0 else None
    saved = time.monotonic()
    for step in range(start, spec.steps):
        rate = training.step([_piece(data, spec, worker, step, part) for part in range(spec.accumulate)])
        is_line = (step + 1) % spec.log_steps == 0
        means = training.mean_losses() if is_line else {}
        if journal is None:
            continue
        journal.advance()
        if is_line:
            journal.line(step + 1, means | {"learning_rate": rate})
        if held_out and spec.validate_steps and (step + 1) % spec.validate_steps == 0:
            with training.averaged():
                validate(recipe, held_out, spec, journal, step + 1)
        if time.monotonic() - saved > spec.checkpoint_seconds and is_line:
            save_checkpoint(spec, step + 1, training.parts, journal.rows)
            journal.write()
            saved = time.monotonic()
    training.mean_losses()
    if journal:
        save_checkpoint(spec, spec.steps, training.parts, journal.rows)
        journal.close()
        with training.averaged():
            recipe.export()


def export_checkpoint(recipe: Recipe, spec: TrainSpec) -> int:
    """Export the averaged weights of the newest checkpoint without training on; returns its step.

    Raises:
        SpecError: If there is none.
    """
    training = _Training(recipe, spec, Worker(0, 1, torch.device("cpu")))
    step, _ = training.load()
    if not step:
        raise SpecError(f"checkpoints: found no checkpoint in {spec.checkpoints}, expected one to export")
    with training.averaged():
        recipe.export()
    return step


def _piece(data: TrainingData, spec: TrainSpec, worker: Worker, step: int, part: int) -> Batch:
    """The rows of a step that one worker computes at a time."""
    count = spec.batch // (worker.count * spec.accumulate)
    return data.batch(step, (worker.rank * spec.accumulate + part) * count, count)


class _Trained:
    """A recipe's trained weights as a part of a checkpoint; what is frozen stands in the bundle."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def state_dict(self) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in self._recipe.named_parameters() if value.requires_grad}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        if state.keys() != self.state_dict().keys():
            raise KeyError("other networks")
        self._recipe.load_state_dict(state, strict=False)


class _Training:
    """A recipe's optimiser, learning rate, averaged weights and scaler."""

    def __init__(self, recipe: Recipe, spec: TrainSpec, worker: Worker) -> None:
        self._spec, self._worker = spec, worker
        self._losses: dict[str, list[Tensor]] = {}
        self._parameters = [p for p in recipe.parameters() if p.requires_grad]
        _LOG.info("%s: %.2f M trained parameters", spec.recipe, sum(p.numel() for p in self._parameters) / 1e6)
        self._optimiser = torch.optim.AdamW(self._parameters, lr=spec.learning_rate, weight_decay=spec.weight_decay)
        self._schedule = get_cosine_schedule_with_warmup(self._optimiser, spec.warmup, spec.steps)
        self._average = EMAModel(self._parameters, decay=spec.ema, use_ema_warmup=True, power=0.75)
        on_gpu = worker.device.type == "cuda"
        self._scaler = torch.amp.GradScaler(worker.device.type, enabled=spec.precision == "fp16" and on_gpu)
        self._shared: nn.Module = recipe
        if worker.count > 1:
            self._shared = DistributedDataParallel(recipe, find_unused_parameters=recipe.some_unused)
        self.parts: dict[str, Any] = {
            "frozen": FrozenParts(spec), "trained": _Trained(recipe), "optimiser": self._optimiser,
            "schedule": self._schedule, "average": self._average, "scaler": self._scaler,
        }  # fmt: skip

    def load(self) -> tuple[int, list[dict[str, float]]]:
        """Take up the newest checkpoint; returns steps done and the log so far."""
        found = load_checkpoint(self._spec, self.parts)
        self._average.to(self._worker.device)
        return found

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision, if the spec asks for it."""
        dtype = _AUTOCAST.get(self._spec.precision)
        return torch.autocast(self._worker.device.type, dtype) if dtype else nullcontext()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Averaged weights in the trained ones' place, for the length of a block."""
        self._average.store(self._parameters)
        self._average.copy_to(self._parameters)
        try:
            yield
        finally:
            self._average.restore(self._parameters)

    def mean_losses(self) -> dict[str, float]:
        """Means over the steps since they were last asked for, over all workers, which must all ask.

        Until then losses stay on the device: a step waits for none.

        Raises:
            TrainingError: If one is not finite, so that it reaches neither checkpoint nor bundle.
        """
        means = {name: float(self._over_workers(torch.stack(values).mean())) for name, values in self._losses.items()}
        self._losses = {}
        # a scaler skips steps of infinite gradients
        skipped = {"gradient_norm"} if self._scaler.is_enabled() else set()
        wild = [f"{name} {value}" for name, value in means.items() if name not in skipped and not math.isfinite(value)]
        if wild:
            raise TrainingError(f"found {', '.join(wild)}, expected finite ones; the newest checkpoint is from before")
        return means

    def step(self, pieces: list[Batch]) -> float:
        """One optimiser step; returns its learning rate."""
        rate = float(self._schedule.get_last_lr()[0])
        self._optimiser.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for number, piece in enumerate(pieces, 1):
            for name, value in self._gradients(piece, len(pieces), is_last=number == len(pieces)).items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value / len(pieces)
        self._scaler.unscale_(self._optimiser)
        sums["gradient_norm"] = nn.utils.clip_grad_norm_(self._parameters, self._spec.clip).detach()
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self._schedule.step()
        self._average.step(self._parameters)
        for name, value in sums.items():
            self._losses.setdefault(name, []).append(value)
        return rate

    def _gradients(self, piece: Batch, parts: int, *, is_last: bool) -> dict[str, Tensor]:
        """Add a piece's gradients; workers exchange them with the last piece only."""
        shared = self._shared
        waiting = shared.no_sync() if isinstance(shared, DistributedDataParallel) and not is_last else nullcontext()
        with waiting:
            with self.autocast():
                losses: dict[str, Tensor] = shared(piece)
            self._scaler.scale(losses["loss"] / parts).backward()
        return {name: value.detach() for name, value in losses.items()}

    def _over_workers(self, value: Tensor) -> Tensor:
        if self._worker.count > 1:
            distributed.all_reduce(value)
            value = value / self._worker.count
        return value
