"""Pictures of a diffusion model while it is trained: a few UniPC steps, each row from noise of its own.

Refuses to know recipes.
"""

from __future__ import annotations

from typing import Final

import torch
from diffusers import UniPCMultistepScheduler
from jaxtyping import Float
from torch import Tensor, nn

from dentgen.models.control import control_residuals
from dentgen.training.data import Batch
from dentgen.training.frozen import FrozenAutoencoder, control_tensor, image_tensor
from dentgen.training.miniature import SCHEDULER_CONFIG
from dentgen.training.noising import Noising
from dentgen.training.spec import ControlKind

_STEPS: Final = 8


@torch.no_grad()
def sampled_preview(
    batch: Batch,
    kind: ControlKind | None,
    autoencoder: FrozenAutoencoder,
    noising: Noising,
    unet: nn.Module,
    embeds: Float[Tensor, "b tokens width"],
    control: nn.Module | None,
) -> list[Float[Tensor, "b 3 H W"]]:
    """Picture, control image (if one is shown), generated picture.

    Args:
        batch: Rows.
        kind: What the control net is shown, None without one.
        autoencoder: Encodes and decodes.
        noising: Draws the noise.
        unet: Denoises.
        embeds: Embedded prompts.
        control: ctrLoRA control net.
    """
    device = embeds.device
    scheduler = UniPCMultistepScheduler.from_config(SCHEDULER_CONFIG)
    scheduler.set_timesteps(_STEPS)
    condition = autoencoder.controls(batch.rows, [kind] * len(batch)) if kind else None
    size = autoencoder.latent_size
    latents = noising.normal(batch, "preview", (4, size, size)) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps.to(device):
        timesteps = timestep.expand(len(batch))
        extra = {}
        if control is not None and condition is not None:
            *down, middle = control_residuals(control, condition, timesteps, embeds)
            extra = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        latents = scheduler.step(unet(latents, timesteps, embeds, **extra).sample, timestep, latents).prev_sample
    columns = [image_tensor(batch.photos)]
    if kind:
        columns.append(torch.stack([control_tensor(row.controls[kind]) for row in batch.rows]) * 2 - 1)
    return [*columns, autoencoder.decode(latents).cpu()]
