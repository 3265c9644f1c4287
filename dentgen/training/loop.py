"""One resumable training loop for every recipe.

A step's randomness is named by its number, and the checkpoint holds weights, averages, optimiser and step, so a run
that was killed goes on as if it had not been. Refuses to know what is trained.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from tqdm import tqdm

from dentgen.training.spec import TrainSpec

_LOG = logging.getLogger(__name__)
_CHECKPOINT, _LOSSES = "checkpoint.pt", "losses.jsonl"


class Recipe(Protocol):
    """What the loop needs of a recipe."""

    @property
    def trained(self) -> nn.ModuleDict:
        """Modules whose trainable parameters are optimised, by name."""

    def loss(self, step: int) -> dict[str, Tensor]:
        """Named losses of one batch; ``loss`` is the one minimised."""

    def export(self) -> None:
        """Write the trained part to the bundle; called with averaged weights in place."""


def train(recipe: Recipe, spec: TrainSpec) -> None:
    """Run a recipe to its last step, from its checkpoint if there is one, and export it."""
    folder = Path(spec.checkpoints)
    folder.mkdir(parents=True, exist_ok=True)
    parameters = [p for p in recipe.trained.parameters() if p.requires_grad]
    _LOG.info("%s: %.2f M trained parameters", spec.recipe, sum(p.numel() for p in parameters) / 1e6)
    optimiser = torch.optim.AdamW(parameters, lr=spec.learning_rate, weight_decay=spec.weight_decay)
    schedule = get_cosine_schedule_with_warmup(optimiser, spec.warmup, spec.steps)
    average = EMAModel(parameters, decay=spec.ema, use_ema_warmup=True, power=0.75)
    state = _TrainingState(recipe, optimiser, schedule, average)
    start = state.load(folder / _CHECKPOINT)
    saved = time.monotonic()
    running: dict[str, float] = {}
    with tqdm(total=spec.steps, initial=start, desc=spec.recipe, unit="step", mininterval=10) as progress:
        for step in range(start, spec.steps):
            losses = recipe.loss(step)
            optimiser.zero_grad(set_to_none=True)
            losses["loss"].backward()
            torch.nn.utils.clip_grad_norm_(parameters, spec.clip)
            optimiser.step()
            schedule.step()
            average.step(parameters)
            for name, value in losses.items():
                running[name] = 0.98 * running.get(name, float(value)) + 0.02 * float(value)
            progress.update()
            if (step + 1) % 50 == 0:
                _log_losses(folder / _LOSSES, step + 1, running, progress)
            if time.monotonic() - saved > spec.checkpoint_seconds:
                state.save(folder / _CHECKPOINT, step + 1)
                saved = time.monotonic()
    state.save(folder / _CHECKPOINT, spec.steps)
    average.copy_to(parameters)
    recipe.export()


def export_checkpoint(recipe: Recipe, spec: TrainSpec) -> int:
    """Export the averaged weights of the newest checkpoint without training on; returns its step."""
    parameters = [p for p in recipe.trained.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=spec.learning_rate)
    schedule = get_cosine_schedule_with_warmup(optimiser, spec.warmup, spec.steps)
    average = EMAModel(parameters, decay=spec.ema, use_ema_warmup=True, power=0.75)
    step = _TrainingState(recipe, optimiser, schedule, average).load(Path(spec.checkpoints) / _CHECKPOINT)
    average.copy_to(parameters)
    recipe.export()
    return step


class _TrainingState:
    """Everything a checkpoint holds."""

    def __init__(self, recipe: Recipe, optimiser: Any, schedule: Any, average: EMAModel) -> None:
        self._parts = {"trained": recipe.trained, "optimiser": optimiser, "schedule": schedule, "average": average}

    def save(self, path: Path, step: int) -> None:
        temporary = path.with_suffix(".tmp")
        torch.save({"step": step, **{name: part.state_dict() for name, part in self._parts.items()}}, temporary)
        Path(temporary).replace(path)

    def load(self, path: Path) -> int:
        if not path.exists():
            return 0
        state = torch.load(path, weights_only=True)
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        _LOG.info("%s: resuming at step %d", path, state["step"])
        return int(state["step"])


def _log_losses(path: Path, step: int, running: dict[str, float], progress: Any) -> None:
    rounded = {name: round(value, 5) for name, value in running.items()}
    progress.set_postfix(rounded, refresh=False)
    with path.open("a") as file:
        file.write(json.dumps({"step": step, **rounded}) + "\n")
