"""One training worker: its data, its recipe and the loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import assert_never

import torch

from dentgen.errors import ConditionError
from dentgen.spec.train import TrainSpec
from dentgen.spec.train_personal import DreamBoothSpec, TextualInversionSpec
from dentgen.spec.train_recipes import (
    AdapterSpec,
    AutoencoderSpec,
    BaseSpec,
    ControlBaseSpec,
    ControlLoraSpec,
    ControlNetSpec,
    JudgeSpec,
    KlDecoderSpec,
    TextToImageSpec,
    TinyDecoderSpec,
    TwoFrameSpec,
)
from dentgen.spec.train_reward import RewardSpec
from dentgen.spec.train_students import (
    DmdLoraSpec,
    LcmLoraSpec,
    NoiseConsistencySpec,
    PhasedLoraSpec,
    PrunedUnetSpec,
)
from dentgen.training.data.partners import open_partnered
from dentgen.training.data.records import Records, open_records
from dentgen.training.data.rows import TrainingData
from dentgen.training.loop import train
from dentgen.training.recipes.adapter import AdapterRecipe, ControlBaseRecipe
from dentgen.training.recipes.autoencoder import AutoencoderRecipe
from dentgen.training.recipes.controlnet import ControlNetRecipe
from dentgen.training.recipes.decoder import DecoderRecipe
from dentgen.training.recipes.dmd_lora import DmdLoraRecipe
from dentgen.training.recipes.dreambooth import DreamBoothRecipe
from dentgen.training.recipes.judge import JudgeRecipe
from dentgen.training.recipes.lcm_lora import LcmLoraRecipe
from dentgen.training.recipes.noise_consistency import NoiseConsistencyRecipe
from dentgen.training.recipes.phased_lora import PhasedLoraRecipe
from dentgen.training.recipes.pruned_unet import PrunedUnetRecipe
from dentgen.training.recipes.recipe import Recipe
from dentgen.training.recipes.reward import RewardRecipe
from dentgen.training.recipes.text_to_image import TextToImageRecipe
from dentgen.training.recipes.textual_inversion import TextualInversionRecipe
from dentgen.training.recipes.two_frame import TwoFrameRecipe
from dentgen.training.training_state import Worker


def train_worker(spec: TrainSpec, worker: Worker) -> None:
    """Run one worker's part of a training; a single worker is the whole run.

    Raises:
        DentgenError: If data, bundle, checkpoint or spec cannot be used, or training diverges.
        KeyboardInterrupt: On Ctrl-C; the run can be resumed.
    """
    with torch_threads(spec.threads):
        data = _training_data(spec)
        held_out = _held_out(spec) if spec.validate_steps and worker.rank == 0 else None
        train(build_recipe(spec, worker.device, data), data, spec, worker, held_out)


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Within the block, torch computes with ``count`` CPU threads; None changes nothing."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def device_of(spec: TrainSpec) -> torch.device:
    """The device that a spec asks for; ``auto`` takes a GPU if there is one."""
    wanted = spec.device if spec.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def _training_data(spec: TrainSpec) -> TrainingData:
    return TrainingData(spec, _records(spec, spec.source.split), spec.source.split)


def _records(spec: TrainSpec, split: str | None) -> Records:
    records = open_records(spec, split)
    return open_partnered(spec, records) if isinstance(spec, TwoFrameSpec) else records


def _held_out(spec: TrainSpec) -> TrainingData:
    try:
        streamed = spec.model_copy(update={"stream": True})  # decodes only the rows shown, not the whole split
        return TrainingData(streamed, _records(streamed, spec.validate_split), spec.validate_split)
    except ConditionError as error:
        raise ConditionError(
            spec.source.path, f"{error.found} to validate on", "some; or set validate_steps: null"
        ) from error


def build_recipe(spec: TrainSpec, device: torch.device, data: TrainingData | None = None) -> Recipe:
    """Build the recipe of a spec; an autoencoder's export measures the scale of latents on ``data``."""
    match spec:
        case AutoencoderSpec():
            return AutoencoderRecipe(spec, data or _training_data(spec), device)
        case TextToImageSpec() | BaseSpec():
            return TextToImageRecipe(spec, device)
        case ControlBaseSpec() | AdapterSpec() | RewardSpec() | NoiseConsistencySpec():
            return _ctrlora_recipe(spec, device)
        case ControlNetSpec() | ControlLoraSpec():
            return ControlNetRecipe(spec, device)
        case LcmLoraSpec() | PhasedLoraSpec() | DmdLoraSpec() | TwoFrameSpec():
            return _lora_recipe(spec, device)
        case DreamBoothSpec() | TextualInversionSpec():
            return _personal_recipe(spec, device)
        case PrunedUnetSpec():
            return PrunedUnetRecipe(spec, device)
        case TinyDecoderSpec() | KlDecoderSpec():
            return DecoderRecipe(spec, device)
        case JudgeSpec():
            return JudgeRecipe(spec, device)
    assert_never(spec)


def _lora_recipe(spec: LcmLoraSpec | PhasedLoraSpec | DmdLoraSpec | TwoFrameSpec, device: torch.device) -> Recipe:
    match spec:
        case LcmLoraSpec():
            return LcmLoraRecipe(spec, device)
        case PhasedLoraSpec():
            return PhasedLoraRecipe(spec, device)
        case DmdLoraSpec():
            return DmdLoraRecipe(spec, device)
        case TwoFrameSpec():
            return TwoFrameRecipe(spec, device)
    assert_never(spec)


def _personal_recipe(spec: DreamBoothSpec | TextualInversionSpec, device: torch.device) -> Recipe:
    match spec:
        case DreamBoothSpec():
            return DreamBoothRecipe(spec, device)
        case TextualInversionSpec():
            return TextualInversionRecipe(spec, device)
    assert_never(spec)


def _ctrlora_recipe(
    spec: ControlBaseSpec | AdapterSpec | RewardSpec | NoiseConsistencySpec, device: torch.device
) -> Recipe:
    match spec:
        case ControlBaseSpec():
            return ControlBaseRecipe(spec, device)
        case AdapterSpec():
            return AdapterRecipe(spec, device)
        case RewardSpec():
            return RewardRecipe(spec, device)
        case NoiseConsistencySpec():
            return NoiseConsistencyRecipe(spec, device)
    assert_never(spec)
