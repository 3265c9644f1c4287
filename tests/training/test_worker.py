"""One worker: the recipe of a spec, its device and threads, its held-out rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dentgen.errors import ConditionError
from dentgen.training.recipes.adapter import AdapterRecipe, ControlBaseRecipe
from dentgen.training.recipes.autoencoder import AutoencoderRecipe
from dentgen.training.recipes.controlnet import ControlNetRecipe
from dentgen.training.recipes.decoder import DecoderRecipe
from dentgen.training.recipes.dmd_lora import DmdLoraRecipe
from dentgen.training.recipes.dreambooth import DreamBoothRecipe
from dentgen.training.recipes.lcm_lora import LcmLoraRecipe
from dentgen.training.recipes.noise_consistency import NoiseConsistencyRecipe
from dentgen.training.recipes.phased_lora import PhasedLoraRecipe
from dentgen.training.recipes.pruned_unet import PrunedUnetRecipe
from dentgen.training.recipes.reward import RewardRecipe
from dentgen.training.recipes.text_to_image import TextToImageRecipe
from dentgen.training.recipes.textual_inversion import TextualInversionRecipe
from dentgen.training.recipes.two_frame import TwoFrameRecipe
from dentgen.training.run import run_training
from dentgen.training.worker import build_recipe, device_of, torch_threads
from tests.training.runs import CPU, copied_bundle, linked_bundle, train_spec

RECIPES: list[tuple[str, dict[str, Any], type]] = [
    ("autoencoder", {}, AutoencoderRecipe),
    ("text-to-image", {}, TextToImageRecipe),
    ("base", {}, TextToImageRecipe),
    ("control-base", {}, ControlBaseRecipe),
    ("adapter", {}, AdapterRecipe),
    ("reward", {}, RewardRecipe),
    ("controlnet", {}, ControlNetRecipe),
    ("control-lora", {}, ControlNetRecipe),
    ("lcm-lora", {}, LcmLoraRecipe),
    ("phased-lora", {}, PhasedLoraRecipe),
    ("dmd-lora", {}, DmdLoraRecipe),
    ("noise-consistency", {}, NoiseConsistencyRecipe),
    ("pruned-unet", {}, PrunedUnetRecipe),
    ("two-frame", {}, TwoFrameRecipe),
    ("dreambooth", {"train_text_encoder": True}, DreamBoothRecipe),
    ("textual-inversion", {}, TextualInversionRecipe),
    ("decoder", {}, DecoderRecipe),
    ("decoder", {"decoder": "kl"}, DecoderRecipe),
]


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "values", "kind"), RECIPES)
def test_a_spec_gets_its_recipe_which_trains_and_registers_no_frozen_network(
    phantoms: str, family: Path, tmp_path: Path, recipe: str, values: dict[str, Any], kind: type
) -> None:
    if kind is PrunedUnetRecipe:
        values = {"teacher": str(copied_bundle(family, tmp_path) / "bundle")}
    built = build_recipe(train_spec(phantoms, family, recipe, **values), CPU)
    assert type(built) is kind
    assert any(parameter.requires_grad for parameter in built.parameters())
    parts = {name.split(".")[0] for name, _ in built.named_parameters()}
    owned = {"vae", "text", "unet", "control", "tasks", "adapted", "student", "critic", "decoder", "vectors"}
    assert parts <= owned
    assert ("unet" in parts) == (kind is TextToImageRecipe)


def test_the_device_is_the_one_asked_for(tmp_path: Path) -> None:
    for asked, expected in (("cpu", "cpu"), ("cuda", "cuda")):
        assert device_of(train_spec("nowhere", tmp_path, "adapter", device=asked)).type == expected
    there = "cuda" if torch.cuda.is_available() else "cpu"
    assert device_of(train_spec("nowhere", tmp_path, "adapter")).type == there


def test_threads_are_set_within_the_block_only() -> None:
    assert torch.get_num_threads() == 1
    with torch_threads(None):
        assert torch.get_num_threads() == 1
    with torch_threads(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 1
    with pytest.raises(RuntimeError), torch_threads(2):
        raise RuntimeError
    assert torch.get_num_threads() == 1


def test_a_source_without_records_to_validate_on_is_refused(phantoms: str, family: Path, tmp_path: Path) -> None:
    spec = train_spec(
        phantoms, linked_bundle(family, tmp_path / "own"), "adapter", validate_steps=1, validate_split="nowhere"
    )
    with pytest.raises(ConditionError) as caught:
        run_training(spec)
    assert (caught.value.file, "nowhere" in caught.value.found) == (phantoms, True)
    assert "validate_steps: null" in caught.value.expected
