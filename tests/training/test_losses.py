"""Laws of the losses."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from dentgen.training.losses import kl_loss, noise_loss, reconstruction_loss, snr_weights, tooth_weights

ONE = torch.ones(2)


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 4, 8, 8, generator=generator)


def test_weight_one_is_mse() -> None:
    pred, noise = pair()
    seg = torch.randint(0, 3, (2, 64, 64))
    weights = tooth_weights(seg, 2, 1.0, 8)
    assert float(noise_loss(pred, noise, ONE, weights)) == pytest.approx(float(F.mse_loss(pred, noise)), rel=1e-6)


def test_sample_normalisation_keeps_the_mean() -> None:
    seg = torch.randint(0, 3, (2, 64, 64))
    assert tooth_weights(seg, 2, 5.0, 8).mean(dim=(1, 2, 3)).tolist() == pytest.approx([1, 1])
    assert float(tooth_weights(torch.zeros(1, 64, 64), 2, 5.0, 8).sum()) == 64, "a picture without teeth"


def test_area_reduction_keeps_a_narrow_gap() -> None:
    """A gap of two pixels in a cell of eight weighs a quarter; nearest neighbour would lose it or double it."""
    seg = torch.full((1, 8, 8), 2)
    seg[:, :, 3:5] = 0
    assert float(tooth_weights(seg, 2, 5.0, 1, "none")) == pytest.approx(1 + 4 * 0.75)


def test_min_snr_caps_low_noise_and_leaves_high_noise() -> None:
    abar = torch.linspace(0.9999, 0.005, 1000)
    weights = snr_weights(abar, torch.tensor([0, 999]))
    snr = abar[0] / (1 - abar[0])
    assert float(weights[0]) == pytest.approx(5 / float(snr), rel=1e-4)
    assert float(weights[1]) == 1


def test_perfect_reconstruction_costs_nothing() -> None:
    image, other = pair()
    assert float(reconstruction_loss(image, image)) == 0
    assert float(reconstruction_loss(image, other)) > float(F.l1_loss(image, other))
    assert float(kl_loss(torch.zeros(3), torch.zeros(3))) == 0
