"""Recipes ``text-to-image`` and ``base``: with control or without, fresh or from another bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dentgen.models.bundle import find_bundle, load_bundle
from dentgen.models.parts import load_tokenizer
from dentgen.training.recipes.text_to_image import TextToImageRecipe
from dentgen.training.run import run_training
from tests.training.runs import CPU, copied_bundle, train_spec, training_data


@pytest.mark.slow
def test_text_to_image_trains_without_control(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    control = (folder / "bundle" / "controlnet" / "diffusion_pytorch_model.safetensors").read_bytes()
    run_training(train_spec(phantoms, folder, "text-to-image", start=str(folder / "bundle")))
    before, after = (load_bundle(str(place / "bundle")) for place in (family, folder))
    for part in ("unet", "text_encoder"):
        a, b = getattr(before, part).state_dict(), getattr(after, part).state_dict()
        assert any(not torch.equal(a[name], b[name]) for name in a), part
    assert (folder / "bundle" / "controlnet" / "diffusion_pytorch_model.safetensors").read_bytes() == control


def test_a_base_trains_its_control_too(phantoms: str, family: Path) -> None:
    spec = train_spec(phantoms, family, "base", batch=4, tasks=["normal"])
    recipe = TextToImageRecipe(spec, CPU)
    assert recipe.control is not None
    recipe(training_data(spec).batch(0, 0, 4))["loss"].backward()
    gradient = recipe.control.get_parameter("controlnet_mid_block.weight").grad
    assert gradient is not None
    assert float(gradient.abs().sum()) > 0
    assert TextToImageRecipe(train_spec(phantoms, family, "text-to-image"), CPU).control is None


@pytest.mark.slow
def test_fresh_weights_are_named_by_the_seed(phantoms: str, family: Path) -> None:
    def first_weight(seed: int) -> torch.Tensor:
        recipe = TextToImageRecipe(train_spec(phantoms, family, "text-to-image", seed=seed), CPU)
        return next(recipe.unet.parameters()).detach()

    assert torch.equal(first_weight(0), first_weight(0))
    assert not torch.equal(first_weight(0), first_weight(1))


def test_starting_from_the_miniature_keeps_its_vocabulary(phantoms: str, tmp_path: Path) -> None:
    miniature = find_bundle("miniature")
    values = {"bundle": str(miniature), "start": "miniature", "conditions": {"size": 128}}
    recipe = TextToImageRecipe(train_spec(phantoms, tmp_path, "base", **values), CPU)
    before = load_tokenizer(miniature / "tokenizer").get_vocab()
    assert before.items() <= recipe._tokenizer.get_vocab().items()
    assert recipe.text.get_input_embeddings().weight.shape[0] == len(recipe._tokenizer)


def test_a_missing_control_base_begins_as_the_unets_encoder(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    for file in (folder / "bundle" / "controlnet").iterdir():
        file.unlink()
    (folder / "bundle" / "controlnet").rmdir()
    recipe = TextToImageRecipe(train_spec(phantoms, folder, "base", start=str(folder / "bundle")), CPU)
    assert recipe.control is not None
    assert torch.equal(recipe.control.get_parameter("conv_in.weight"), recipe.unet.conv_in.weight)


@pytest.mark.slow
def test_what_is_written_names_no_path(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    run_training(train_spec(phantoms, folder, "base", start=str(folder / "bundle"), steps=1))
    for file in (folder / "bundle").rglob("*.json"):
        assert str(tmp_path.parent.parent) not in file.read_text(), file
        assert '_name_or_path": "/' not in file.read_text(), file
    assert not list((folder / "bundle").rglob("README.md"))


@pytest.mark.slow
def test_a_start_for_another_size_goes_on_at_the_specs(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    values = {"conditions": {"size": 128}, "start": str(family / "bundle"), "steps": 2}
    run_training(train_spec(phantoms, folder, "base", **values))
    before, after = (load_bundle(str(place / "bundle")) for place in (family, folder))
    assert after.unet.config["sample_size"] == 2 * before.unet.config["sample_size"]
    assert after.unet.config["block_out_channels"] == before.unet.config["block_out_channels"]
    kept, found = (net.get_parameter("mid_block.resnets.0.conv1.weight") for net in (before.unet, after.unet))
    assert float((kept - found).abs().max()) < 0.1 * float(kept.abs().max())
