"""One resumable training loop for every recipe, in one process or several.

A step's randomness is named by its number, and the checkpoint holds weights, averages, optimiser, log and step, so a
killed run continues as if it had never stopped.
"""

from __future__ import annotations

import logging
import time

import torch

from dentgen.errors import SpecError
from dentgen.spec.train import TrainSpec
from dentgen.training.data.rows import Batch, TrainingData
from dentgen.training.gradient_check import check_gradients
from dentgen.training.interrupt import deferred_interrupt
from dentgen.training.journal import Journal
from dentgen.training.recipes.recipe import Recipe
from dentgen.training.training_state import TrainingState, Worker
from dentgen.training.validation import validate

_LOG = logging.getLogger(__name__)


def train(
    recipe: Recipe, data: TrainingData, spec: TrainSpec, worker: Worker, held_out: TrainingData | None = None
) -> None:
    """Run a recipe to its last step, from its checkpoint if there is one, and export it.

    Args:
        recipe: What is trained.
        data: Its rows.
        spec: The run.
        worker: Which of the processes this one is.
        held_out: Rows for previews and validation losses; None for no validation.

    Raises:
        TrainingError: If losses or gradients are not finite.
        KeyboardInterrupt: On Ctrl-C, after the current step and its checkpoint.
    """
    training = TrainingState(recipe, spec, worker)
    start, rows = training.load()
    recipe.prepare(worker.rank, worker.count)
    if start == 0:
        check_gradients(recipe, (_piece(data, spec, worker, n, 0) for n in range(recipe.cycle)), training.autocast)
    if worker.rank:
        for step in range(start, spec.steps):
            _step(training, data, step)
        training.losses.means()
        return
    with Journal(spec, start, rows) as journal:
        _run(training, data, held_out, journal, start)
        training.losses.means()
        training.save(spec.steps, journal)
    with training.averaged():
        recipe.export()


def export_checkpoint(recipe: Recipe, spec: TrainSpec) -> int:
    """Export the averaged weights of the checkpoint without training; returns its step.

    Raises:
        SpecError: If there is none.
    """
    training = TrainingState(recipe, spec, Worker(0, 1, torch.device("cpu")))
    step, _ = training.load()
    if not step:
        raise SpecError(key="checkpoints", found=f"no checkpoint in {spec.checkpoints}", expected="one to export")
    with training.averaged():
        recipe.export()
    return step


def _run(
    training: TrainingState, data: TrainingData, held_out: TrainingData | None, journal: Journal, start: int
) -> None:
    """The first worker's steps, which it logs, validates and checkpoints."""
    spec, saved = training.spec, time.monotonic()
    with deferred_interrupt() as interrupt:
        for step in range(start + 1, spec.steps + 1):
            means = _step(training, data, step - 1)
            journal.advance()
            if means:
                journal.line(step, means)
            if held_out and spec.validate_steps and step % spec.validate_steps == 0:
                with training.averaged():
                    validate(training.recipe, held_out, spec, journal, step)
            if means and time.monotonic() - saved > spec.checkpoint_seconds:
                training.save(step, journal)
                saved = time.monotonic()
            if interrupt.requested:
                _keep(training, journal, step)
                interrupt.stop()


def _step(training: TrainingState, data: TrainingData, step: int) -> dict[str, float]:
    """One optimiser step; returns mean losses and learning rate if a line of the log is due."""
    spec, worker = training.spec, training.worker
    rate = training.step([_piece(data, spec, worker, step, part) for part in range(spec.accumulate)])
    if (step + 1) % spec.log_steps:
        return {}
    return training.losses.means() | {"learning_rate": rate}


def _keep(training: TrainingState, journal: Journal, step: int) -> None:
    """Save what an interrupted run has done; of several workers, which would have to agree on it, nothing.

    Raises:
        TrainingError: If its losses are not finite; the earlier checkpoint stays.
    """
    if training.worker.count == 1:
        training.losses.current()
        training.save(step, journal)
        _LOG.info("interrupted after step %d of %d; the next run resumes there", step, training.spec.steps)


def _piece(data: TrainingData, spec: TrainSpec, worker: Worker, step: int, part: int) -> Batch:
    """The rows of a step that one worker computes at a time."""
    count = spec.batch // (worker.count * spec.accumulate)
    return data.batch(step, (worker.rank * spec.accumulate + part) * count, count)
