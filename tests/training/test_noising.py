"""Noising: diffusers' schedule, draws that depend on seed, step and row alone, the noise loss."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler
from torch.nn import functional as F

from dentgen.spec.train_sections import LossSpec
from dentgen.training.data.rows import Batch
from dentgen.training.losses import snr_weights
from dentgen.training.miniature import SCHEDULER_CONFIG
from dentgen.training.noising import Noising
from tests.training.runs import CPU, train_spec, training_data


@pytest.fixture
def noising(phantoms: str) -> Noising:
    return Noising(train_spec(phantoms, Path("nowhere"), "adapter"), CPU)


@pytest.fixture
def batch(phantoms: str) -> Batch:
    return training_data(train_spec(phantoms, Path("nowhere"), "adapter", batch=8)).batch(3, 0, 8)


def test_noise_is_added_as_diffusers_adds_it(noising: Noising) -> None:
    clean, noise = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
    timesteps = torch.tensor([0, 500, 999])
    expected = DDPMScheduler.from_config(SCHEDULER_CONFIG).add_noise(clean, noise, timesteps)
    torch.testing.assert_close(noising.add_noise(clean, noise, timesteps), expected)


def test_known_noise_leads_back_to_the_clean_latents(noising: Noising) -> None:
    clean, noise, timesteps = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), torch.tensor([0, 200, 999])
    found = noising.denoise(noising.add_noise(clean, noise, timesteps), noise, timesteps)
    torch.testing.assert_close(found, clean, rtol=1e-3, atol=1e-4)


def test_row_weights_scale_the_losses_of_rows(noising: Noising, batch: Batch) -> None:
    noised, guess = noising.noised(batch, torch.zeros(8, 4, 8, 8)), torch.randn(8, 4, 8, 8)
    alone = [
        noising.loss(batch, noised, guess, LossSpec(), torch.eye(8)[row])["loss"] for row in range(8)
    ]  # fmt: skip
    weights = torch.arange(8.0)
    found = noising.loss(batch, noised, guess, LossSpec(), weights)
    assert float(found["loss"]) == pytest.approx(float((torch.stack(alone) * weights).sum()), rel=1e-5)
    squares = (guess - noised.noise).square().mean((1, 2, 3))
    assert float(found["mse"]) == pytest.approx(float((squares * weights).mean()), rel=1e-5)


def test_draws_do_not_depend_on_how_rows_are_divided(noising: Noising, batch: Batch) -> None:
    clean = torch.zeros(8, 4, 8, 8)
    whole = noising.noised(batch, clean)
    parts = [noising.noised(Batch(3, first, batch.rows[first : first + 2]), clean[:2]) for first in range(0, 8, 2)]
    assert torch.equal(torch.cat([part.timesteps for part in parts]), whole.timesteps)
    assert torch.equal(torch.cat([part.noise for part in parts]), whole.noise)
    assert len(set(whole.timesteps.tolist())) > 4
    other = noising.noised(Batch(4, 0, batch.rows), clean)
    assert not torch.equal(other.noise, whole.noise)


def test_normal_draws_are_standard_normal(noising: Noising, batch: Batch) -> None:
    values = noising.normal(batch, "test", (4, 32, 32))
    assert values.dtype is torch.float32
    assert abs(float(values.mean())) < 0.02
    assert float(values.std()) == pytest.approx(1, rel=0.02)
    assert not torch.equal(values, noising.normal(batch, "other", (4, 32, 32)))


def test_some_prompts_are_empty(noising: Noising, batch: Batch) -> None:
    prompts = [text for step in range(40) for text in noising.prompts(Batch(step, 0, batch.rows))]
    empty = Counter(text == "" for text in prompts)[True] / len(prompts)
    assert 0.05 < empty < 0.16, "a tenth"


def test_the_plain_loss_is_min_snr_weighted_squared_error(noising: Noising, batch: Batch) -> None:
    noised = noising.noised(batch, torch.zeros(8, 4, 8, 8))
    guess = torch.randn(8, 4, 8, 8)
    rows = F.mse_loss(guess, noised.noise, reduction="none").mean((1, 2, 3))
    found = noising.loss(batch, noised, guess, LossSpec())
    assert float(found["mse"]) == pytest.approx(float(rows.mean()), rel=1e-5)
    weights = snr_weights(noising.alphas_cumprod, noised.timesteps)
    assert float(found["loss"]) == pytest.approx(float((rows * weights).mean()), rel=1e-5)


def test_a_weighted_loss_counts_errors_on_teeth(noising: Noising, batch: Batch) -> None:
    noised = noising.noised(batch, torch.zeros(8, 4, 8, 8))
    teeth = F.interpolate(torch.from_numpy(batch.seg == 2).float()[:, None], size=(8, 8), mode="area") == 1
    on_teeth, elsewhere = noised.noise + teeth, noised.noise + ~teeth
    spec = LossSpec(background=0, gingiva=0, tooth=1)
    assert float(noising.loss(batch, noised, on_teeth, spec)["loss"]) > 0
    mixed = F.interpolate(torch.from_numpy(batch.seg == 2).float()[:, None], size=(8, 8), mode="area") > 0
    clean = torch.where(mixed, noised.noise, elsewhere)
    assert float(noising.loss(batch, noised, clean, spec)["loss"]) == 0
