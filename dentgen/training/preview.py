"""Sampling from a diffusion model in training, for previews and generated latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from diffusers import LCMScheduler, UNet2DConditionModel, UniPCMultistepScheduler
from jaxtyping import Float
from torch import Tensor, nn

from dentgen.models.control import control_residuals
from dentgen.models.pruning import fitting_residuals
from dentgen.spec.train_sections import ControlKind
from dentgen.training.data.rows import Batch
from dentgen.training.frozen_networks import FrozenAutoencoder, control_tensor, image_tensor
from dentgen.training.miniature import SCHEDULER_CONFIG
from dentgen.training.noising import Noising

_STEPS: Final = 8

#: Predicts the noise in latents (b, 4, h, w) at timesteps (b,).
NoiseOf = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def sample(
    noise_of: NoiseOf, latents: Float[Tensor, "b 4 h w"], scheduler: Any = None, steps: int = _STEPS, seed: int = 0
) -> Float[Tensor, "b 4 h w"]:
    """Denoise standard normal latents to clean ones.

    Args:
        noise_of: Predicts the noise.
        latents: Standard normal.
        scheduler: A diffusers scheduler; None: UniPC.
        steps: Number of steps.
        seed: Seed of the noise that a scheduler adds.
    """
    scheduler = scheduler or UniPCMultistepScheduler.from_config(SCHEDULER_CONFIG)
    scheduler.set_timesteps(steps)
    options = {"generator": torch.Generator().manual_seed(seed)} if isinstance(scheduler, LCMScheduler) else {}
    for timestep in scheduler.timesteps.to(latents.device):
        noise = noise_of(latents, timestep.expand(len(latents)))
        latents = scheduler.step(noise, timestep, latents, **options).prev_sample
    return latents


def predict_noise(
    unet: UNet2DConditionModel, latents: Tensor, timesteps: Tensor, embeds: Tensor, residuals: list[Tensor] | None
) -> Float[Tensor, "b 4 h w"]:
    """The UNet's noise prediction, with or without residuals of a control net, which may be that of a larger UNet."""
    controls = {}
    if residuals is not None:
        *down, middle = residuals
        fitting = fitting_residuals(down, unet.config)
        controls = {"down_block_additional_residuals": fitting, "mid_block_additional_residual": middle}
    noise: Tensor = unet(latents, timesteps, embeds, **controls).sample
    return noise


@torch.no_grad()
def sampled_preview(
    batch: Batch,
    kind: ControlKind | None,
    autoencoder: FrozenAutoencoder,
    noising: Noising,
    unet: UNet2DConditionModel,
    embeds: Float[Tensor, "b tokens width"],
    control: nn.Module | None,
) -> list[Float[Tensor, "b 3 H W"]]:
    """Columns of a preview: image, control image (if there is one), generated image.

    Args:
        batch: Rows.
        kind: Control image, None without control net.
        autoencoder: Encodes and decodes.
        noising: Draws the noise.
        unet: Denoises.
        embeds: Embedded prompts.
        control: ctrLoRA control net.
    """
    condition = autoencoder.controls(batch.rows, [kind] * len(batch)) if kind else None

    def noise_of(latents: Tensor, timesteps: Tensor) -> Tensor:
        if control is None or condition is None:
            return predict_noise(unet, latents, timesteps, embeds, None)
        residuals = control_residuals(control, condition, timesteps, embeds)
        return predict_noise(unet, latents, timesteps, embeds, residuals)

    size = autoencoder.latent_size
    latents = sample(noise_of, noising.normal(batch, "preview", (4, size, size)))
    columns = [image_tensor(batch.photos)]
    if kind:
        columns.append(torch.stack([control_tensor(row.control(kind)) for row in batch.rows]) * 2 - 1)
    return [*columns, autoencoder.decode(latents).cpu()]
