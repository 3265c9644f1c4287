"""Sampling in training: an exact noise prediction leads to the image it was computed from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, LCMScheduler, UniPCMultistepScheduler
from torch import Tensor, nn

from dentgen.models.bundle import find_bundle
from dentgen.models.control import control_residuals, load_control
from dentgen.training.frozen_networks import FrozenAutoencoder, FrozenText, frozen_unet
from dentgen.training.miniature import SCHEDULER_CONFIG
from dentgen.training.noising import Noising
from dentgen.training.preview import predict_noise, sample, sampled_preview
from tests.training.runs import CPU, train_spec, training_data

BUNDLE = find_bundle("miniature")


def exact_noise_of(clean: Tensor) -> Any:
    """The noise in latents if the image behind them is ``clean``."""
    abar = UniPCMultistepScheduler.from_config(SCHEDULER_CONFIG).alphas_cumprod

    def noise_of(latents: Tensor, timesteps: Tensor) -> Tensor:
        at = abar[timesteps][:, None, None, None]
        return (latents - at.sqrt() * clean) / (1 - at).sqrt()

    return noise_of


@pytest.mark.parametrize("scheduler", [None, DDIMScheduler, LCMScheduler])
def test_an_exact_prediction_leads_to_the_image(scheduler: Any) -> None:
    clean = torch.randn(2, 4, 8, 8)
    chosen = scheduler and scheduler.from_config(SCHEDULER_CONFIG)
    found = sample(exact_noise_of(clean), torch.randn(2, 4, 8, 8), chosen, steps=4, seed=1)
    torch.testing.assert_close(found, clean, rtol=0, atol=0.15)


def test_noise_that_a_scheduler_adds_is_named_by_the_seed() -> None:
    def noise_of(latents: Tensor, timesteps: Tensor) -> Tensor:
        return 0.5 * latents

    start = torch.randn(1, 4, 8, 8)
    runs = [sample(noise_of, start, LCMScheduler.from_config(SCHEDULER_CONFIG), 4, seed) for seed in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.slow
def test_residuals_reach_the_unet(tmp_path: Path) -> None:
    spec = train_spec("nowhere", tmp_path, "adapter", bundle=str(BUNDLE), conditions={"size": 128})
    unet, control = frozen_unet(spec, CPU), load_control(BUNDLE / "controlnet", torch.float32)
    latents, steps, embeds = torch.randn(1, 4, 16, 16), torch.tensor([500]), torch.randn(1, 77, 128)
    plain = predict_noise(unet, latents, steps, embeds, None)
    assert torch.equal(plain, unet(latents, steps, embeds).sample)
    residuals = control_residuals(control, latents, steps, embeds)
    torch.testing.assert_close(predict_noise(unet, latents, steps, embeds, [0 * r for r in residuals]), plain)
    assert not torch.allclose(predict_noise(unet, latents, steps, embeds, residuals), plain)


@pytest.mark.slow
@pytest.mark.parametrize("controlled", [False, True])
def test_a_preview_shows_the_control_image_if_there_is_one(phantoms: str, tmp_path: Path, controlled: bool) -> None:
    spec = train_spec(phantoms, tmp_path, "adapter", bundle=str(BUNDLE), conditions={"size": 128})
    batch = training_data(spec).batch(0, 0, 1)
    control: nn.Module | None = load_control(BUNDLE / "controlnet", torch.float32) if controlled else None
    columns = sampled_preview(
        batch, "normal" if controlled else None, FrozenAutoencoder(spec, CPU), Noising(spec, CPU),
        frozen_unet(spec, CPU), FrozenText(spec, CPU)([batch.rows[0].prompt]), control,
    )  # fmt: skip
    assert [tuple(column.shape) for column in columns] == [(1, 3, 128, 128)] * (3 if controlled else 2)
    photo = torch.from_numpy(batch.photos).permute(0, 3, 1, 2)
    assert torch.equal(((columns[0] + 1) * 127.5).round().to(torch.uint8), photo)
