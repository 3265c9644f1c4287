"""Seconds per training step of every recipe under every precision, in the order in which parts of a bundle depend."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from dentgen.benchmark.engine.clock import wait_for
from dentgen.benchmark.engine.machine import peak_memory_gib, reset_memory
from dentgen.errors import TrainingError
from dentgen.spec.train import TrainSpec, read_train_spec
from dentgen.training.data.records import open_records
from dentgen.training.data.rows import TrainingData
from dentgen.training.training_state import TrainingState, Worker
from dentgen.training.worker import build_recipe

#: Steps before the timed ones: kernels are chosen, caches filled.
_WARM_UP: Final = 2


def benchmark_training(
    specs: Sequence[Path],
    overrides: Sequence[str],
    dtypes: Sequence[str],
    *,
    device: torch.device,
    steps: int,
    work: Path,
    file: Path | None,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Train a few steps of every spec, one bundle per precision.

    Args:
        specs: Training specs; each reads what those before it wrote.
        overrides: ``a.b=value`` texts for all of them.
        dtypes: Values of ``dtype``.
        device: Where they train.
        steps: Timed steps.
        work: Folder for the bundles.
        file: JSON file, written after every spec; None writes none.
        log: Called with a line per spec.

    Returns:
        ``seconds_per_step``, ``rows_per_second``, ``loss`` (of the last step) and ``peak_memory_gib``, each by spec
        and precision; ``failures`` by the same.

    Raises:
        SpecError: If a spec is wrong.
    """
    figures: dict[str, Any] = {
        name: {} for name in ("seconds_per_step", "rows_per_second", "loss", "peak_memory_gib", "failures")
    }
    for dtype in dtypes:
        for path in specs:
            own = (f"bundle={work / dtype}", f"checkpoints={work / 'checkpoints'}", f"steps={steps + _WARM_UP}")
            spec = read_train_spec(path, (*overrides, *own, f"dtype={dtype}", "warmup=1", "validate_steps=null"))
            found: dict[str, Any]
            try:
                found = _measure(spec, device, steps)
            except (TrainingError, torch.OutOfMemoryError) as error:
                found = {"failures": f"{type(error).__name__}: {str(error)[:300]}"}
            for name, value in found.items():
                figures[name].setdefault(path.stem, {})[dtype] = value
            if file is not None:
                file.write_text(json.dumps(figures, indent=1) + "\n")
            log(f"{path.stem}, {dtype}: {found}")
    return figures


def clean(work: Path) -> None:
    """Remove the bundles of an earlier run."""
    shutil.rmtree(work, ignore_errors=True)


def _measure(spec: TrainSpec, device: torch.device, steps: int) -> dict[str, Any]:
    reset_memory(device)
    data = TrainingData(spec, open_records(spec, spec.source.split), spec.source.split)
    training = TrainingState(build_recipe(spec, device, data), spec, Worker(0, 1, device))
    training.recipe.prepare()
    for step in range(_WARM_UP):
        training.step([data.batch(step, 0, spec.batch)])
    wait_for(device)
    began = time.perf_counter()
    for step in range(_WARM_UP, _WARM_UP + steps):
        training.step([data.batch(step, 0, spec.batch)])
    wait_for(device)
    seconds = (time.perf_counter() - began) / steps
    loss = training.losses.means()["loss"]
    with training.averaged():
        training.recipe.export()
    return {
        "seconds_per_step": round(seconds, 4), "rows_per_second": round(spec.batch / seconds, 2),
        "loss": round(loss, 5), "peak_memory_gib": peak_memory_gib(device),
    }  # fmt: skip
