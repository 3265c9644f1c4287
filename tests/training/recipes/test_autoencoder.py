"""Recipe ``autoencoder``: mean and scale of the latents, alignment with another encoder, control images."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from pydantic import ValidationError

from dentgen.conditions.labels import TOOTH
from dentgen.conditions.lesion_map import CAVITY
from dentgen.errors import SpecError
from dentgen.models.bundle import Bundle, load_bundle
from dentgen.models.parts import REQUIRED, load_vae
from dentgen.records import ConditionRecord
from dentgen.training.frozen_networks import control_tensor, image_tensor
from dentgen.training.losses import boundary_error
from dentgen.training.recipes.autoencoder import AutoencoderRecipe, _check_shiftable, shift_latents
from dentgen.training.run import run_training
from tests.training.runs import CPU, copied_bundle, train_spec, training_data


@pytest.mark.slow
def test_exported_latents_have_mean_0_and_unit_variance(phantoms: str, family: Path) -> None:
    vae = load_vae(family / "bundle" / "vae", torch.float32)
    data = training_data(train_spec(phantoms, family, "autoencoder", batch=20))
    with torch.no_grad():
        latents = vae.encode(image_tensor(data.batch(0, 0, 20).photos)).latent_dist.mode()
    assert float(latents.std() * vae.config["scaling_factor"]) == pytest.approx(1, rel=0.05)
    assert float(latents.mean((0, 2, 3)).abs().max()) < 0.05 * float(latents.std())


def test_shifted_latents_decode_to_the_same_pictures(miniature: Bundle) -> None:
    vae, pictures = copy.deepcopy(miniature.vae).float(), torch.rand(2, 3, 64, 64) * 2 - 1
    shift = torch.tensor([0.5, -1.0, 0.0, 2.0])
    with torch.no_grad():
        before = vae.encode(pictures).latent_dist.mode()
        shift_latents(vae, shift)
        after = vae.encode(pictures).latent_dist.mode()
        torch.testing.assert_close(after, before + shift[:, None, None], rtol=0, atol=1e-5)
        expected = miniature.vae.float().decode(before).sample
        torch.testing.assert_close(vae.decode(after).sample, expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_an_aligned_encoder_stays_close_to_the_other(phantoms: str, family: Path, tmp_path: Path) -> None:
    known = load_bundle(str(family / "bundle")).vae
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    distance = {}
    for align in (None, str(family / "bundle")):
        folder = tmp_path / ("aligned" if align else "alone")
        values = {"align": align, "steps": 20, "batch": 4, "learning_rate": 2e-3, "ema": 0.5}
        run_training(train_spec(phantoms, folder, "autoencoder", **values))
        vae = load_vae(folder / "bundle" / "vae", torch.float32)
        with torch.no_grad():
            latents, expected = (net.encode(images).latent_dist.mode() for net in (vae, known.float()))
        distance[align is not None] = float((latents - expected).square().mean() / expected.var())
    assert distance[True] < 0.8 * distance[False], distance


@pytest.mark.slow
def test_an_encoder_with_other_latents_cannot_be_aligned_with(phantoms: str, family: Path, tmp_path: Path) -> None:
    other = copied_bundle(family, tmp_path) / "bundle"
    AutoencoderKL(latent_channels=8, norm_num_groups=8).save_pretrained(other / "vae")
    with pytest.raises(SpecError) as caught:
        run_training(train_spec(phantoms, tmp_path, "autoencoder", align=str(other)))
    assert caught.value.key == "align"
    assert "8 channels" in caught.value.found
    assert "4 channels at 1/8" in caught.value.expected


@pytest.mark.parametrize("missing", ["use_quant_conv", "use_post_quant_conv"])
def test_an_encoder_whose_latents_cannot_be_shifted_is_refused(missing: str, phantoms: str, tmp_path: Path) -> None:
    for part in REQUIRED:
        (tmp_path / "other" / part).mkdir(parents=True)
    AutoencoderKL(norm_num_groups=8, **{missing: False}).save_pretrained(tmp_path / "other" / "vae")
    spec = train_spec(phantoms, tmp_path, "autoencoder", start=str(tmp_path / "other"))
    with pytest.raises(SpecError) as caught:
        AutoencoderRecipe(spec, training_data(spec), CPU)
    assert caught.value.key == "start"
    assert f"{missing}: False" in str(caught.value.found)
    _check_shiftable(load_vae(tmp_path / "other" / "vae", torch.float32), spec.model_copy(update={"align": "x"}))


def test_findings_weigh_in_the_losses_of_pixels_and_colours(phantoms: str, tmp_path: Path) -> None:
    spec = train_spec(
        phantoms, tmp_path, "autoencoder", batch=4, colour=1.0, loss={"finding": 5.0, "normalise": "none"}
    )
    data = training_data(spec)
    recipe, batch = AutoencoderRecipe(spec, data, CPU), data.batch(0, 0, 4)
    ill = replace(batch, rows=[replace(row, record=with_findings(row.record)) for row in batch.rows])
    with torch.no_grad():
        without, losses = recipe(batch), recipe(ill)
    for name in ("weighted", "colour"):
        assert float(losses[name]) > 1.2 * float(without[name])
    assert float(losses["mse"]) == pytest.approx(float(without["mse"])), "the pictures are the same"


def test_control_images_are_those_of_the_tasks(phantoms: str, tmp_path: Path) -> None:
    spec = train_spec(phantoms, tmp_path, "autoencoder", batch=20, tasks=["lighting"])
    data = training_data(spec)
    recipe, batch = AutoencoderRecipe(spec, data, CPU), data.batch(0, 0, 20)
    shown = [(row, recipe._image(batch, number, row)) for number, row in enumerate(batch.rows)]
    controls = [(row, image) for row, image in shown if not torch.equal(image, image_tensor(row.photo))]
    assert controls
    assert all(torch.equal(image, control_tensor(row.control("lighting"))) for row, image in controls)


@pytest.mark.integration
def test_the_loss_is_the_sum_of_the_asked_for_terms(phantoms: str, tmp_path: Path) -> None:
    def losses(**values: object) -> dict[str, float]:
        spec = train_spec(phantoms, tmp_path, "autoencoder", batch=4, **values)
        data = training_data(spec)
        found = AutoencoderRecipe(spec, data, CPU)(data.batch(0, 0, 4))
        return {name: float(value.detach()) for name, value in found.items()}

    plain, full = losses(detail=False), losses()
    assert set(plain) == {"loss", "mse", "kl"}
    assert full["loss"] == pytest.approx(plain["loss"] + full["boundary"], rel=1e-5)
    weighted = losses(detail=False, loss={"background": 0, "gingiva": 0, "normalise": "none"})
    assert weighted["loss"] == pytest.approx(plain["loss"] + weighted["weighted"], rel=1e-5)
    coloured = losses(detail=False, colour=2.0)
    assert coloured["colour"] > 0
    assert coloured["loss"] == pytest.approx(plain["loss"] + 2 * coloured["colour"], rel=1e-5)


def test_about_a_quarter_of_the_rows_are_control_images(phantoms: str, tmp_path: Path) -> None:
    spec = train_spec(phantoms, tmp_path, "autoencoder", batch=20)
    data = training_data(spec)
    recipe, batch = AutoencoderRecipe(spec, data, CPU), data.batch(0, 0, 20)
    steps = [type(batch)(step, 0, batch.rows) for step in range(10)]
    photos = [
        torch.equal(recipe._image(step, number, row), image_tensor(row.photo))
        for step in steps
        for number, row in enumerate(step.rows)
    ]
    assert 0.65 < sum(photos) / len(photos) < 0.85


def test_a_preview_shows_image_and_reconstruction(phantoms: str, tmp_path: Path) -> None:
    spec = train_spec(phantoms, tmp_path, "autoencoder")
    data = training_data(spec)
    batch = data.batch(0, 0, 2)
    image, reconstruction = AutoencoderRecipe(spec, data, CPU).eval().preview(batch)
    assert torch.equal(image, image_tensor(batch.photos))
    assert reconstruction.shape == image.shape
    assert float(boundary_error(reconstruction, image, torch.from_numpy(batch.seg))) > 0


def test_crops_cut_image_and_labels_alike(phantoms: str, tmp_path: Path) -> None:
    whole = train_spec(phantoms, tmp_path, "autoencoder", batch=4, loss={"finding": 1.0})
    spec = whole.model_copy(update={"crop": 24})
    data = training_data(spec)
    batch = data.batch(0, 0, 4)
    rows = [replace(row, record=with_findings(row.record)) for row in batch.rows]
    batch = replace(batch, rows=rows)
    images, seg, findings = AutoencoderRecipe(whole, data, CPU)._shown(batch)
    crops, labels, cut = AutoencoderRecipe(spec, data, CPU)._shown(batch)
    assert findings.any()
    corners = [place_of(crop, image) for crop, image in zip(crops, images, strict=True)]
    assert len(set(corners)) > 1
    for maps, parts in ((seg, labels), (findings, cut)):
        for (down, right), found, full in zip(corners, parts, maps, strict=True):
            assert torch.equal(found, full[down : down + 24, right : right + 24])


def with_findings(record: ConditionRecord) -> ConditionRecord:
    """A record with decay on all its teeth."""
    lesion = np.where(record.conditions["segmentation"] == TOOTH, CAVITY, 0).astype(np.uint8)
    return replace(record, conditions={**record.conditions, "findings": lesion})


def place_of(crop: torch.Tensor, image: torch.Tensor) -> tuple[int, int]:
    """The corner at which an image shows a crop."""
    windows = image.unfold(1, 24, 1).unfold(2, 24, 1).movedim(0, 2)
    down, right = torch.nonzero((windows == crop).all(-1).all(-1).all(-1))[0].tolist()
    return down, right


def test_a_crop_is_no_larger_than_the_image(phantoms: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as caught:
        train_spec(phantoms, tmp_path, "autoencoder", crop=512)
    assert [error["loc"][-1] for error in caught.value.errors()] == ["crop"]


def test_the_perceptual_loss_is_weighted_and_its_encoder_is_not_trained(phantoms: str, tmp_path: Path) -> None:
    spec = train_spec(phantoms, tmp_path, "autoencoder", batch=2, detail=False, perceptual=2.0)
    data = training_data(spec)
    recipe = AutoencoderRecipe(spec, data, CPU)
    batch = data.batch(0, 0, 2)
    with_it = recipe(batch)
    plain = AutoencoderRecipe(spec.model_copy(update={"perceptual": 0.0}), data, CPU)(batch)
    expected = plain["loss"] + 2 * with_it["perceptual"]
    assert float(with_it["loss"].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert not any("network" in name for name, _ in recipe.named_parameters())
