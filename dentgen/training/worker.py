"""One training worker: data, recipe and loop."""

from __future__ import annotations

from typing import assert_never

import torch

from dentgen.errors import ConditionError
from dentgen.spec.train import TrainSpec
from dentgen.training.data.records import open_records
from dentgen.training.data.rows import TrainingData
from dentgen.training.loop import Worker, train
from dentgen.training.recipes.adapter import AdapterRecipe, ControlBaseRecipe
from dentgen.training.recipes.autoencoder import AutoencoderRecipe
from dentgen.training.recipes.base import BaseRecipe
from dentgen.training.recipes.controlnet import ControlNetRecipe
from dentgen.training.recipes.decoder import DecoderRecipe
from dentgen.training.recipes.lcm_lora import LcmLoraRecipe
from dentgen.training.recipes.recipe import Recipe


def train_worker(spec: TrainSpec, worker: Worker) -> None:
    """One worker's part of a run; alone it is the whole run."""
    if spec.threads:
        torch.set_num_threads(spec.threads)
    data = TrainingData(spec, open_records(spec, spec.split), spec.split)
    held_out = _held_out(spec) if spec.validate_steps and worker.rank == 0 else None
    train(build_recipe(spec, worker.device, data), data, spec, worker, held_out)


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


def build_recipe(spec: TrainSpec, device: torch.device, data: TrainingData | None = None) -> Recipe:
    """The recipe that a spec names; an autoencoder's reads its data to weigh what it errs on."""
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
