"""Properties of the losses, against closed forms and scipy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
from numpy.typing import NDArray
from scipy.fft import dctn
from torch.multiprocessing.spawn import start_processes
from torch.nn import functional as F

from dentgen.models.imagenet import ImageNetEncoder
from dentgen.quality.metrics import luminance
from dentgen.spec.train_sections import LossSpec, PixelWeights
from dentgen.training.losses import (
    boundary_band,
    boundary_error,
    colour_error,
    consistency_loss,
    image_weights,
    kl_loss,
    noise_loss,
    perceptual_error,
    pixel_weights,
    reconstruction_loss,
    region_error,
    snr_weights,
    texture_error,
)

ONE = torch.ones(2)


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 4, 8, 8, generator=generator)


def weights_for(seg: torch.Tensor, **values: Any) -> torch.Tensor:
    return pixel_weights(seg.to(torch.uint8), LossSpec.model_validate(values), 8)


@pytest.mark.parametrize("normalise", ["none", "sample", "batch"])
@pytest.mark.parametrize("reduce", ["area", "bilinear"])
def test_weights_of_one_give_the_mean_squared_error(normalise: str, reduce: str) -> None:
    pred, noise = pair()
    weights = weights_for(torch.randint(0, 3, (2, 64, 64)), normalise=normalise, reduce=reduce)
    assert torch.equal(weights, torch.ones(2, 1, 8, 8))
    assert float(noise_loss(pred, noise, ONE, weights)) == pytest.approx(float(F.mse_loss(pred, noise)), rel=1e-6)


@pytest.mark.parametrize("normalise", ["sample", "batch"])
def test_scaling_all_weights_changes_nothing(normalise: str) -> None:
    seg = torch.randint(0, 3, (3, 64, 64))
    one = weights_for(seg, tooth=5.0, gingiva=2.0, boundary=3.0, normalise=normalise)
    ten = weights_for(seg, background=10.0, tooth=50.0, gingiva=20.0, boundary=30.0, normalise=normalise)
    torch.testing.assert_close(one, ten)


def test_weights_have_mean_one_over_what_is_normalised() -> None:
    seg = torch.zeros(2, 64, 64, dtype=torch.long)
    seg[0, :32] = 2
    assert weights_for(seg, tooth=5.0, normalise="sample").mean(dim=(1, 2, 3)).tolist() == pytest.approx([1, 1])
    batch = weights_for(seg, tooth=5.0, normalise="batch")
    assert float(batch.mean()) == pytest.approx(1)
    assert batch.mean(dim=(1, 2, 3)).tolist() == pytest.approx([3 / 2, 1 / 2])
    assert weights_for(seg, tooth=5.0, normalise="none").mean(dim=(1, 2, 3)).tolist() == pytest.approx([3, 1])


def test_findings_weigh_more_by_their_share_of_a_latent() -> None:
    """A latent has 8 x 8 pixels; a quarter of the first one is a finding."""
    found = torch.zeros(1, 64, 64, dtype=torch.bool)
    found[0, :4, :4] = True
    spec = LossSpec(finding=8.0, normalise="none")
    assert not spec.is_plain
    weights = pixel_weights(torch.zeros(1, 64, 64, dtype=torch.uint8), spec, 8, found)
    assert float(weights[0, 0, 0, 0]) == 1 + 8 / 4
    assert weights.flatten()[1:].tolist() == [1.0] * 63


@pytest.mark.parametrize("normalise", ["none", "sample", "batch"])
def test_images_without_a_class_stay_finite(normalise: str) -> None:
    nothing = torch.zeros(1, 64, 64)
    assert bool(weights_for(nothing, tooth=5.0, boundary=2.0, normalise=normalise).isfinite().all())
    assert bool(weights_for(nothing, background=0.0, tooth=5.0, normalise=normalise).isfinite().all()), (
        "no weight at all"
    )


def test_the_boundary_band_has_the_asked_for_width() -> None:
    inside = torch.zeros(1, 16, 16, dtype=torch.bool)
    inside[:, :, 8:] = True
    for pixels in (1, 2, 3):
        band = boundary_band(inside, pixels)
        assert band[0, 5].nonzero().flatten().tolist() == list(range(8 - pixels, 8 + pixels))
    assert float(boundary_band(torch.ones(1, 16, 16, dtype=torch.bool), 2).sum()) == 0, "the border is none"


def test_the_floor_is_a_lower_bound() -> None:
    seg = torch.zeros(1, 64, 64)
    seg[:, :32] = 2
    weights = weights_for(seg, background=0.0, tooth=5.0, floor=0.5, normalise="none")
    assert sorted(set(weights.flatten().tolist())) == [0.5, 5.0]


def test_area_reduction_keeps_a_narrow_gap() -> None:
    """A gap of two pixels in a cell of eight weighs a quarter; nearest neighbour would lose or double it."""
    seg = torch.full((1, 64, 64), 2)
    seg[:, :, 3:5] = 0
    assert float(weights_for(seg, tooth=5.0, normalise="none")[0, 0, 0, 0]) == pytest.approx(1 + 4 * 0.75)


@pytest.mark.slow
def test_workers_share_the_mean_of_a_batch(tmp_path: Path) -> None:
    """Two processes with two samples each get the weights of one with four."""
    seg = torch.randint(0, 3, (4, 64, 64), generator=torch.Generator().manual_seed(0))
    seg[2:] = 0
    torch.save(seg, tmp_path / "seg.pt")
    start_processes(_weights_of_half, (str(tmp_path),), nprocs=2, start_method="spawn")
    halves = torch.cat([torch.load(tmp_path / f"{rank}.pt") for rank in range(2)])
    torch.testing.assert_close(halves, weights_for(seg, tooth=5.0, normalise="batch"))


def _weights_of_half(rank: int, folder: str) -> None:
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    seg = torch.load(f"{folder}/seg.pt")[2 * rank : 2 * rank + 2]
    torch.save(weights_for(seg, tooth=5.0, normalise="batch"), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_equal_predictions_cost_nothing() -> None:
    one, other = pair()
    assert float(consistency_loss(one, one)) == pytest.approx(0, abs=1e-9)
    assert float(consistency_loss(one, other)) == pytest.approx(float((one - other).abs().mean()), rel=2e-3)


def test_min_snr_caps_weights_at_low_noise_only() -> None:
    abar = torch.linspace(0.9999, 0.005, 1000)
    weights = snr_weights(abar, torch.tensor([0, 999]))
    snr = abar[0] / (1 - abar[0])
    assert float(weights[0]) == pytest.approx(5 / float(snr), rel=1e-4)
    assert float(weights[1]) == 1


def test_an_snr_floor_weighs_image_errors_at_high_noise() -> None:
    """An image error costs SNR x weight: at least the floor, at most gamma, the SNR in between."""
    abar = torch.tensor([0.9999, 0.5, 0.005])
    snr = abar / (1 - abar)
    cost = snr * snr_weights(abar, torch.arange(3), floor=0.1)
    assert cost.tolist() == pytest.approx([5, 1, 0.1], rel=1e-4)
    assert float(snr_weights(abar, torch.tensor([2]))) == 1, "no floor by default"


def test_boundary_errors_count_within_two_pixels_of_tissue_boundaries() -> None:
    seg = torch.zeros(1, 16, 16, dtype=torch.uint8)
    seg[:, :, 8:], seg[:, 12:] = 2, 1
    image = torch.zeros(1, 3, 16, 16)
    for place, counts in (((0, 3), False), ((0, 6), True), ((0, 9), True), ((0, 12), False), ((11, 2), True)):
        wrong = image.clone()
        wrong[0, :, place[0], place[1]] = 1.0
        assert float(boundary_error(wrong, image, seg)) == (pytest.approx(1 / 256) if counts else 0), place


def test_region_errors_count_by_the_weights_of_their_classes() -> None:
    seg = torch.zeros(1, 16, 16, dtype=torch.uint8)
    seg[:, :, 8:], seg[:, 12:] = 2, 1
    image, wrong = torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.5)
    assert float(region_error(wrong, image, image_weights(seg, PixelWeights()))) == pytest.approx(0.5), "plain L1"
    of_teeth = PixelWeights(background=0, gingiva=0, tooth=3, normalise="none")
    assert float(region_error(wrong, image, image_weights(seg, of_teeth))) == pytest.approx(0.5 * 3 * 96 / 256)
    wrong[0, :, :12, 8:] = 0
    assert float(region_error(wrong, image, image_weights(seg, of_teeth))) == 0


def test_region_errors_weigh_findings_beside_their_class() -> None:
    seg, found = torch.full((1, 16, 16), 2, dtype=torch.uint8), torch.zeros(1, 16, 16, dtype=torch.bool)
    found[:, :2, :8] = True
    image, wrong = torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.5)
    spec = PixelWeights(tooth=3, finding=5, normalise="none")
    assert float(region_error(wrong, image, image_weights(seg, spec, found))) == pytest.approx(0.5 * (3 + 5 * 16 / 256))
    assert float(region_error(wrong, image, image_weights(seg, spec))) == pytest.approx(0.5 * 3), (
        "nowhere without a map"
    )


def test_colour_errors_see_neither_brightness_nor_detail_of_less_than_four_pixels() -> None:
    seg, found = torch.full((1, 16, 16), 2, dtype=torch.uint8), torch.zeros(1, 16, 16, dtype=torch.bool)
    found[:, :4, :8] = True
    image, bluer = torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)
    bluer[:, 2] = 0.4
    spec = PixelWeights(tooth=3, finding=5, normalise="none")
    ill, sound = image_weights(seg, spec, found), image_weights(seg, spec)
    # red less luma and blue less luma, as BT.601 weighs the three
    for channel, differences in enumerate([(0.701, 0.299), (0.587, 0.587), (0.114, 0.886)]):
        other = torch.zeros(1, 3, 16, 16)
        other[:, channel] = 0.4
        assert float(colour_error(other, image, sound)) == pytest.approx(3 * 0.4 * sum(differences) / 2)
    assert float(colour_error(bluer, image, ill)) == pytest.approx((3 + 5 * 32 / 256) * 0.4 / 2)
    assert float(colour_error(image + 0.3, image, sound)) == pytest.approx(0, abs=1e-6)
    chequered = bluer * (1 - 2 * (torch.arange(16) % 2)) * (1 - 2 * (torch.arange(16)[:, None] % 2))
    assert float(colour_error(chequered, image, sound)) == pytest.approx(0, abs=1e-6)


def test_texture_error_is_the_log_ratio_of_fine_detail() -> None:
    """As computed by scipy's cosine transform of levels and luminance, in wavelengths of 8 to 4 pixels and below."""
    levels = np.random.default_rng(0).integers(0, 256, (2, 32, 24, 3), dtype=np.uint8)
    faded = (levels // 4 + 90).astype(np.uint8)
    image, less = (torch.from_numpy(pixels).movedim(-1, 1) / 127.5 - 1 for pixels in (levels, faded))
    missing = np.abs(np.log(_cosine_energies(levels) / _cosine_energies(faded))).mean()
    assert float(texture_error(less, image)) == pytest.approx(missing, rel=1e-3)
    assert float(texture_error(image, less)) == pytest.approx(missing, rel=1e-3), "too much detail costs the same"
    assert float(texture_error(image, image)) == 0
    assert float(texture_error(image.flip(-1), image)) < 1e-4, "its place does not matter"
    smooth = torch.full_like(image, -0.5).requires_grad_()
    texture_error(smooth, image).backward()
    assert smooth.grad is not None
    assert bool(smooth.grad.isfinite().all())


def _cosine_energies(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, 4, 2): energies of red, green, blue and linear luminance in two bands."""
    values = np.concatenate([images / 255, luminance(images)[..., None]], -1)
    power = dctn(values, axes=(1, 2), norm="ortho") ** 2 / values[0, ..., 0].size
    waves = np.hypot(*np.meshgrid(*(np.arange(size) / (2 * size) for size in values.shape[1:3]), indexing="ij"))
    fine, finer = (waves > 1 / 8) & (waves <= 1 / 4), waves > 1 / 4
    return np.stack([(power * band[..., None]).sum((1, 2)) for band in (fine, finer)], -1)


def test_perfect_reconstruction_costs_nothing() -> None:
    image, other = pair()
    assert float(reconstruction_loss(image, image)) == 0
    assert float(reconstruction_loss(image, other)) > float(F.l1_loss(image, other))
    assert float(kl_loss(torch.zeros(3), torch.zeros(3))) == 0


def test_perceptual_error_is_that_of_unit_features() -> None:
    encoder = ImageNetEncoder(pretrained=True).eval().requires_grad_(False)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    blurred = F.avg_pool2d(images, 3, 1, 1)
    expected = 0.0
    for one, other in zip(*(encoder(encoder.normalised((batch + 1) / 2)) for batch in (blurred, images)), strict=True):
        if one.shape[-1] < 8:
            break
        first, second = (each.double().numpy() for each in (one, other))
        first, second = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (first, second))
        expected += float(((first - second) ** 2).sum(1).mean())
    assert float(perceptual_error(encoder, blurred, images)) == pytest.approx(expected, rel=1e-4)
    assert float(perceptual_error(encoder, images, images)) == 0
    shifted = images.clone().requires_grad_()
    perceptual_error(encoder, shifted + 0.1, images).backward()
    assert shifted.grad is not None
    assert float(shifted.grad.abs().sum()) > 0
