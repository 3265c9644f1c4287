"""Run a training spec: open its data, build its recipe, hand both to the loop, in this process or in Ray's workers.

Refuses to know how anything is trained.
"""

from __future__ import annotations

from typing import assert_never

import torch

from dentgen.errors import ConditionError
from dentgen.training.adapter import AdapterRecipe, ControlBaseRecipe
from dentgen.training.autoencoder import AutoencoderRecipe
from dentgen.training.base import BaseRecipe
from dentgen.training.controlnet import ControlNetRecipe
from dentgen.training.data import TrainingData
from dentgen.training.decoder import DecoderRecipe
from dentgen.training.lcm_lora import LcmLoraRecipe
from dentgen.training.loop import Worker, export_checkpoint, train
from dentgen.training.recipe import Recipe
from dentgen.training.records import open_records
from dentgen.training.spec import TrainSpec


def run_training(spec: TrainSpec, *, export_only: bool = False) -> None:
    """Train a spec to its end, or only export its newest checkpoint.

    Args:
        spec: The run.
        export_only: Write the newest checkpoint's weights to the bundle and stop.

    Raises:
        DentgenError: If data, bundle and spec do not go together.
    """
    if spec.workers and not export_only:
        from dentgen.training.ray_workers import train_with_ray  # Ray takes seconds to import

        train_with_ray(spec)
        return
    device = device_of(spec)
    if export_only:
        export_checkpoint(_recipe(spec, device), spec)
    else:
        work(spec, Worker(0, 1, device))


def work(spec: TrainSpec, worker: Worker) -> None:
    """One worker's part of a run; alone it is the whole run."""
    if spec.threads:
        torch.set_num_threads(spec.threads)
    data = TrainingData(spec, open_records(spec, spec.split), spec.split)
    held_out = _held_out(spec) if spec.validate_steps and worker.rank == 0 else None
    train(_recipe(spec, worker.device, data), data, spec, worker, held_out)


def device_of(spec: TrainSpec) -> torch.device:
    """The device that a spec asks for; ``auto`` takes a GPU where there is one."""
    wanted = spec.device if spec.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def _held_out(spec: TrainSpec) -> TrainingData:
    try:
        few = spec.model_copy(update={"stream": True})  # decodes those that are shown, not the whole split
        return TrainingData(few, open_records(few, spec.validate_split), spec.validate_split)
    except ConditionError as error:
        raise ConditionError(spec.data, f"{error.found} to validate on", "some; or validate_steps: 0") from error


def _recipe(spec: TrainSpec, device: torch.device, data: TrainingData | None = None) -> Recipe:
    match spec.recipe:
        case "autoencoder":
            data = data or TrainingData(spec, open_records(spec, spec.split), spec.split)
            return AutoencoderRecipe(spec, data, device)
        case "text-to-image" | "base":
            return BaseRecipe(spec, device)
        case "control-base":
            return ControlBaseRecipe(spec, device)
        case "adapter":
            return AdapterRecipe(spec, device)
        case "controlnet" | "control-lora":
            return ControlNetRecipe(spec, device)
        case "lcm-lora":
            return LcmLoraRecipe(spec, device)
        case "decoder":
            return DecoderRecipe(spec, device)
    assert_never(spec.recipe)
