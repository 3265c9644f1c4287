"""Recipe ``dreambooth``: the prior's loss, plain LoRA training without it, resumed runs, a LoRA that others read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from torch import Tensor, nn

from dentgen.models.bundle import Bundle, load_bundle
from dentgen.models.text import PromptEncoder
from dentgen.models.trained_sampling import read_trained_sampling
from dentgen.training.data.rows import Batch
from dentgen.training.frozen_networks import FrozenAutoencoder, FrozenText
from dentgen.training.loop import train
from dentgen.training.lora_student import LAYERS, WEIGHTS, lora_unet
from dentgen.training.noising import Noising
from dentgen.training.preview import predict_noise
from dentgen.training.recipes.dreambooth import DreamBoothRecipe
from dentgen.training.recipes.recipe import Recipe
from dentgen.training.run import run_training
from dentgen.training.training_state import Worker
from tests.training.runs import (
    CPU,
    copied_bundle,
    killed_and_whole,
    linked_bundle,
    losses_of,
    train_spec,
    training_data,
    weights_of,
)

PLAIN: dict[str, Any] = {"prior_weight": 0.0, "class_prompt": None}


class PlainLora(Recipe):
    """Plain text-to-image training of a LoRA, written apart: every picture under one prompt, the noise loss."""

    def __init__(self, spec: Any) -> None:
        super().__init__()
        self._spec, self._noising = spec, Noising(spec, CPU)
        self._autoencoder, self._text = FrozenAutoencoder(spec, CPU), FrozenText(spec, CPU)
        self.student = lora_unet(spec, CPU, "dreambooth", LAYERS)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        noised = self._noising.noised(batch, self._autoencoder.pictures(batch))
        embeds = self._text([self._spec.instance_prompt]).expand(len(batch), -1, -1)
        noise_pred = predict_noise(self.student, noised.latents, noised.timesteps, embeds, None)
        return self._noising.loss(batch, noised, noise_pred, self._spec.loss)

    def export(self) -> None:
        """Nothing."""

    def preview(self, batch: Batch) -> list[Tensor]:
        raise NotImplementedError


def recipe_of(phantoms: str, family: Path, folder: Path, **values: Any) -> DreamBoothRecipe:
    own = folder if folder.exists() and (folder / "bundle").exists() else linked_bundle(family, folder)
    recipe = DreamBoothRecipe(train_spec(phantoms, own, "dreambooth", **values), CPU)
    recipe.prepare()
    return recipe


def losses(recipe: DreamBoothRecipe) -> dict[str, float]:
    with torch.no_grad():
        return {name: float(value) for name, value in recipe(training_data(recipe._spec).batch(0, 0, 2)).items()}


@pytest.mark.slow
def test_without_prior_it_is_plain_lora_training_bit_for_bit(phantoms: str, family: Path, tmp_path: Path) -> None:
    """Also from a spec that names a class prompt; no class picture is drawn."""
    values = {"prior_weight": 0.0, "loss": {"tooth": 5.0}, "learning_rate": 0.01}
    own, plain = (linked_bundle(family, tmp_path / name) for name in ("own", "plain"))
    spec = train_spec(phantoms, own, "dreambooth", name="own", **values)
    other = train_spec(phantoms, plain, "dreambooth", **values)
    train(DreamBoothRecipe(spec, CPU), training_data(spec), spec, Worker(0, 1, CPU))
    train(PlainLora(other), training_data(other), other, Worker(0, 1, CPU))
    first, second = weights_of(own / "dreambooth"), weights_of(plain / "dreambooth")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not (own / "dreambooth" / "class_pictures").exists()


@pytest.mark.integration
def test_the_loss_is_the_pictures_plus_the_weighted_priors(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    alone, one, three = (
        losses(recipe_of(phantoms, family, folder, **values))
        for values in (PLAIN, {"prior_weight": 1.0}, {"prior_weight": 3.0})
    )
    assert one["prior"] == three["prior"] > 0
    assert one["instance"] == three["instance"] == alone["loss"]
    assert three["loss"] == pytest.approx(alone["loss"] + 3 * one["prior"], rel=1e-6)
    assert one["mse"] == alone["mse"]


@pytest.mark.integration
def test_the_prior_is_the_noise_loss_of_class_pictures_under_their_prompt(
    phantoms: str, family: Path, tmp_path: Path
) -> None:
    """By hand; rows of a step draw their class pictures by number, whichever worker has them."""
    recipe = recipe_of(phantoms, family, tmp_path / "own", loss={"tooth": 5.0})
    data, bundle = training_data(recipe._spec), load_bundle(str(family / "bundle"))
    embeds = PromptEncoder(bundle.tokenizer, bundle.text_encoder).embed("teeth")
    whole, parts = data.batch(0, 0, 2), [data.batch(0, row, 1) for row in (0, 1)]
    abar = recipe._noising.alphas_cumprod
    expected = []
    for part in parts:
        (picked,) = recipe._noising.generators(part, "class")
        (time,) = recipe._noising.generators(part, "class timestep")
        number, step = int(picked.integers(10)), int(time.integers(1000))
        clean, noise = recipe._class_pictures.latents([number]), recipe._noising.normal(part, "class noise", (4, 8, 8))
        noisy = abar[step].sqrt() * clean + (1 - abar[step]).sqrt() * noise
        found = bundle.unet(noisy, step, embeds[None]).sample
        snr = float(abar[step] / (1 - abar[step]))
        expected.append(float((found - noise).square().mean()) * min(snr, 5) / snr)
    with torch.no_grad():
        assert float(recipe._prior(whole)) == pytest.approx(sum(expected) / 2, rel=1e-4)


def test_an_untrained_lora_predicts_as_the_bundle(phantoms: str, family: Path, tmp_path: Path) -> None:
    """LoRAs of UNet and text encoder begin with nothing."""
    recipe = recipe_of(phantoms, family, tmp_path / "own", train_text_encoder=True, **PLAIN)
    bundle, latents = load_bundle(str(family / "bundle")), torch.randn(2, 4, 8, 8)
    embeds = PromptEncoder(bundle.tokenizer, bundle.text_encoder).embed("teeth, sks style").expand(2, -1, -1)
    found = recipe._embedded("teeth, sks style", 2)
    torch.testing.assert_close(found, embeds, rtol=1e-4, atol=1e-5)
    times = torch.tensor([10, 900])
    with torch.no_grad():
        predicted = predict_noise(recipe.student, latents, times, embeds, None)
    torch.testing.assert_close(predicted, bundle.unet(latents, times, embeds).sample, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_lora_acts_in_builds_and_in_diffusers_as_in_training(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    spec = train_spec(phantoms, folder, "dreambooth", learning_rate=0.05, train_text_encoder=True, validate_steps=4)
    run_training(spec)
    place, plain = folder / "bundle" / "loras" / "dreambooth", load_bundle(str(folder / "bundle"))
    bundle = load_bundle(str(folder / "bundle"), loras={"dreambooth": 1.0})
    pipeline = StableDiffusionPipeline(
        vae=plain.vae, text_encoder=plain.text_encoder, tokenizer=plain.tokenizer, unet=plain.unet,
        scheduler=None, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    before = _answers(plain, plain.text_encoder, plain.unet)
    pipeline.load_lora_weights(str(place), weight_name=WEIGHTS)
    fused, theirs = (
        _answers(bundle, bundle.text_encoder, bundle.unet), _answers(plain, pipeline.text_encoder, pipeline.unet)
    )  # fmt: skip
    for ours, other, base in zip(fused, theirs, before, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-3, atol=1e-4)
        assert not torch.allclose(ours, base, atol=1e-3)
    with safe_open(place / WEIGHTS, "pt") as file:
        says = json.loads(file.metadata()["dentgen_lora"])
    assert says == {"kind": "dreambooth", "instance_prompt": "teeth, sks style", "class_prompt": "teeth"}
    assert read_trained_sampling(place) is None, "any sampler will do"
    assert (folder / "dreambooth" / "previews" / "0000004.png").exists()


@torch.no_grad()
def _answers(bundle: Bundle, text: nn.Module, unet: nn.Module) -> tuple[Tensor, Tensor]:
    """Embedding of a prompt, and what a UNet predicts under a fixed one."""
    ids = bundle.tokenizer(["teeth, sks style"], padding="max_length", return_tensors="pt").input_ids
    embeds, rng = text(ids)[0], torch.Generator().manual_seed(0)
    latents, fixed = torch.randn(1, 4, 8, 8, generator=rng), torch.randn(embeds.shape, generator=rng)
    return embeds, unet(latents, 500, fixed).sample


@pytest.mark.slow
def test_a_killed_run_resumes_bit_for_bit(phantoms: str, family: Path, tmp_path: Path) -> None:
    cut, whole = killed_and_whole(family, phantoms, tmp_path, "dreambooth", steps=8, train_text_encoder=True)
    first, second = weights_of(whole), weights_of(cut)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert losses_of(cut) == losses_of(whole)
    assert {"instance", "prior"} <= set(losses_of(cut)[0])


@pytest.mark.slow
def test_an_export_draws_no_class_pictures(phantoms: str, family: Path, tmp_path: Path) -> None:
    folder = copied_bundle(family, tmp_path)
    spec = train_spec(phantoms, folder, "dreambooth", steps=1)
    run_training(spec)
    for file in (folder / "dreambooth" / "class_pictures").rglob("*.safetensors"):
        file.unlink()
    run_training(spec, export_only=True)
    assert not list((folder / "dreambooth" / "class_pictures").rglob("*.safetensors"))
