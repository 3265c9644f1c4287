"""Recipe ``two-frame``: a LoRA that draws a mouth under another light beside a reference picture of it.

Left and right half of one canvas are two frames that are noised and denoised together: the left one reconstructs the
reference, the right one is the edit (diffusion self-distillation, Cai et al. 2025, https://arxiv.org/abs/2411.18616,
here on a UNet with a control net; written from the paper).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from dentgen.models.trained_sampling import HEADER
from dentgen.spec.train_recipes import TwoFrameSpec
from dentgen.training.data.rows import Batch
from dentgen.training.frozen_networks import image_tensor
from dentgen.training.lora_student import LAYERS, ControlledNetworks, lora_unet, write_lora
from dentgen.training.noising import Noised
from dentgen.training.preview import predict_noise, sample
from dentgen.training.recipes.recipe import Recipe

#: What in the header of the weights says that a LoRA draws two frames.
_HEADER: Final = {HEADER: json.dumps({"kind": "two-frame", "frames": 2, "kept": "left"})}


class TwoFrameRecipe(Recipe):
    """Trains ``bundle/loras/NAME``."""

    def __init__(self, spec: TwoFrameSpec, device: torch.device) -> None:
        """Add a fresh LoRA to a copy of the bundle's UNet.

        Raises:
            BundleError: If the bundle lacks the spec's adapter.
        """
        super().__init__()
        self._spec, self._networks = spec, ControlledNetworks(spec, device)
        self.student = lora_unet(spec, device, spec.recipe, LAYERS)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Noise losses of both frames, weighted."""
        noised = self._networks.noising.noised(batch, self._frames(batch))
        embeds = self._networks.text(self._networks.noising.prompts(batch))
        noise_pred = self._predict(noised.latents, noised.timesteps, embeds, self._condition(batch))
        left, right = (
            self._networks.noising.loss(rows, frame, prediction, self._spec.loss)
            for rows, frame, prediction in zip(
                (batch, batch.partners), _halves_of(noised), noise_pred.chunk(2, -1), strict=True
            )
        )
        weights = self._spec.reference_weight, self._spec.edit_weight
        loss = (weights[0] * left["loss"] + weights[1] * right["loss"]) / sum(weights)
        return {"loss": loss, "mse_reference": left["mse"], "mse": right["mse"]}

    def export(self) -> None:
        """Write the LoRA in diffusers' layout, weights in fp16; its header says what it is for."""
        write_lora(self.student, Path(self._spec.bundle), self._spec.part, _HEADER)

    @torch.no_grad()
    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Reference, control image of the target, target as drawn from the reference."""
        embeds, condition = self._networks.text([row.prompt for row in batch.rows]), self._condition(batch)
        reference = self._networks.autoencoder.pictures(batch)
        size = self._networks.autoencoder.latent_size

        def noise_of(latents: Tensor, steps: Tensor) -> Tensor:
            left, right = latents.chunk(2, -1)[0], self._predict(latents, steps, embeds, condition).chunk(2, -1)[1]
            abar = self._networks.noising.alphas_cumprod[steps][:, None, None, None]
            return torch.cat([(left - abar.sqrt() * reference) / (1 - abar).sqrt(), right], -1)

        latents = sample(noise_of, self._networks.noising.normal(batch, "preview", (4, size, 2 * size)))
        drawn = self._networks.autoencoder.decode(latents.chunk(2, -1)[1].contiguous()).cpu()
        return [image_tensor(batch.photos), self._networks.control_images(batch.partners), drawn]

    def _frames(self, batch: Batch) -> Float[Tensor, "b 4 h w2"]:
        """Clean latents of reference and target side by side."""
        return torch.cat([self._networks.autoencoder.pictures(rows) for rows in (batch, batch.partners)], -1)

    def _condition(self, batch: Batch) -> Float[Tensor, "b 4 h w2"]:
        return torch.cat([self._networks.encoded_controls(rows) for rows in (batch, batch.partners)], -1)

    def _predict(self, latents: Tensor, timesteps: Tensor, embeds: Tensor, condition: Tensor) -> Tensor:
        residuals = self._networks.residuals(condition, timesteps, embeds)
        return predict_noise(self.student, latents, timesteps, embeds, residuals)


def _halves_of(noised: Noised) -> list[Noised]:
    """Left and right frame."""
    pairs = zip(noised.latents.chunk(2, -1), noised.noise.chunk(2, -1), strict=True)
    return [Noised(latents, noise, noised.timesteps) for latents, noise in pairs]
