"""Frozen parts: which ones a recipe depends on, and that a changed one is noticed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dentgen.errors import SpecError
from dentgen.models.bundle import find_bundle
from dentgen.models.judges import judges_folder
from dentgen.training.bundle_fingerprint import FrozenParts, frozen_parts
from tests.training.runs import train_spec

MODEL = {"vae", "tokenizer", "text_encoder", "unet"}


@pytest.mark.parametrize(
    ("recipe", "values", "parts"),
    [
        ("autoencoder", {}, set()),
        ("text-to-image", {}, {"vae"}),
        ("base", {}, {"vae"}),
        ("control-base", {}, MODEL),
        ("controlnet", {}, MODEL),
        ("control-lora", {}, MODEL),
        ("adapter", {}, MODEL | {"controlnet"}),
        ("reward", {}, MODEL | {"controlnet", "adapters/blended"}),
        ("reward", {"reward_decoder": "tiny"}, MODEL | {"controlnet", "adapters/blended", "tiny_decoder"}),
        ("lcm-lora", {"adapter": "own"}, MODEL | {"controlnet", "adapters/own"}),
        ("phased-lora", {"adapter": "own"}, MODEL | {"controlnet", "adapters/own"}),
        ("dmd-lora", {"adapter": "own"}, MODEL | {"controlnet", "adapters/own"}),
        (
            "dmd-lora",
            {"adapter": "own", "start_lora": "first"},
            MODEL | {"controlnet", "adapters/own", "loras/first"},
        ),
        ("dmd-lora", {"adapter": None}, MODEL),
        ("noise-consistency", {}, MODEL | {"controlnet"}),
        ("noise-consistency", {"generator": "first"}, MODEL | {"controlnet", "loras/first"}),
        (
            "pruned-unet",
            {"adapter": "own", "teacher": "miniature"},
            (MODEL - {"unet"}) | {"controlnet", "adapters/own"},
        ),
        ("two-frame", {"adapter": "own"}, MODEL | {"controlnet", "adapters/own"}),
        ("dreambooth", {}, MODEL),
        ("textual-inversion", {}, MODEL),
        ("decoder", {}, {"vae"}),
        ("decoder", {"decoder": "kl"}, set()),
        ("decoder", {"generated": 0.5, "adapter": "own"}, MODEL | {"controlnet", "adapters/own"}),
    ],
)
def test_parts_that_a_recipe_depends_on(
    recipe: str, values: dict[str, Any], parts: set[str], tmp_path: Path
) -> None:  # fmt: skip
    assert set(frozen_parts(train_spec("nowhere", tmp_path, recipe, **values))) == parts


def test_a_changed_teacher_is_named(tmp_path: Path) -> None:
    for folder in ("teacher", "bundle"):
        shutil.copytree(find_bundle("miniature"), tmp_path / folder)
    spec = train_spec("nowhere", tmp_path, "pruned-unet", teacher=str(tmp_path / "teacher"))
    state = FrozenParts(spec).state_dict()
    config = tmp_path / "teacher" / "unet" / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(SpecError) as caught:
        FrozenParts(spec).load_state_dict(state)
    assert caught.value.key == "teacher"


def test_a_changed_part_is_named(tmp_path: Path) -> None:
    for part in ("vae", "tokenizer", "text_encoder", "unet", "controlnet"):
        shutil.copytree(find_bundle("miniature") / part, tmp_path / "bundle" / part)
    spec = train_spec("nowhere", tmp_path, "adapter")
    state = FrozenParts(spec).state_dict()
    FrozenParts(spec).load_state_dict(state)
    for part in ("unet", "controlnet"):
        config = tmp_path / "bundle" / part / "config.json"
        config.write_text(config.read_text() + "\n")
    with pytest.raises(SpecError) as caught:
        FrozenParts(spec).load_state_dict(state)
    assert (caught.value.file, caught.value.key) == (str(tmp_path / "bundle"), "unet, controlnet")


def test_changed_judges_are_named(tmp_path: Path) -> None:
    shutil.copytree(find_bundle("miniature"), tmp_path / "bundle")
    shutil.copytree(judges_folder("embedded"), tmp_path / "judges")
    spec = train_spec("nowhere", tmp_path, "reward", judges=str(tmp_path / "judges"))
    state = FrozenParts(spec).state_dict()
    FrozenParts(spec.model_copy(update={"judges": "embedded"})).load_state_dict(state)
    (tmp_path / "judges" / "dilated.safetensors").unlink()
    with pytest.raises(SpecError) as caught:
        FrozenParts(spec).load_state_dict(state)
    assert caught.value.key == "judges"
