"""Recipes ``controlnet`` and ``control-lora``: alternatives to ctrLoRA, for comparison.

A full ControlNet is a trained copy of the UNet's encoder that sees the noisy latent and a pixel hint (Zhang et al.
2023, https://arxiv.org/abs/2302.05543). A Control-LoRA keeps that copy frozen and trains hint embedding, zero
convolutions and a LoRA; it is exported merged, as a ControlNet.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Final

import torch
from diffusers import ControlNetModel
from jaxtyping import Float
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from dentgen.models.adapter import LORA_TARGETS
from dentgen.models.parts import CONTROLNETS
from dentgen.seeding import fresh_weights
from dentgen.spec.train_recipes import ControlLoraSpec, ControlNetSpec
from dentgen.training.data.rows import Batch
from dentgen.training.export import save_network
from dentgen.training.frozen_networks import (
    FrozenAutoencoder,
    FrozenText,
    Unregistered,
    control_tensor,
    frozen_unet,
    image_tensor,
)
from dentgen.training.noising import Noising
from dentgen.training.preview import predict_noise, sample
from dentgen.training.recipes.recipe import Recipe

#: Channels of the hint embedding, which halves the resolution from each to the next.
_HINT_CHANNELS: Final = (16, 32, 64, 128)
_TRAINED_WHOLE: Final = re.compile(r"^(controlnet_cond_embedding|controlnet_down_blocks\.\d+|controlnet_mid_block)$")
_CONVOLUTIONS: Final = ("conv1", "conv2", "conv_shortcut", "proj_in", "proj_out")


class ControlNetRecipe(Recipe):
    """Trains ``bundle/controlnets/NAME``; text encoder and UNet are frozen."""

    def __init__(self, spec: ControlNetSpec | ControlLoraSpec, device: torch.device) -> None:
        """Start from a copy of the UNet's encoder with a fresh hint embedding, trained whole or through a LoRA."""
        super().__init__()
        self._spec, self._device = spec, device
        self._autoencoder, self._noising = FrozenAutoencoder(spec, device), Noising(spec, device)
        self._text, self._unet = FrozenText(spec, device), Unregistered(frozen_unet(spec, device))
        with fresh_weights(spec.seed, "weights", spec.recipe):
            control = ControlNetModel.from_unet(
                self._unet.net, conditioning_embedding_out_channels=_HINT_CHANNELS, load_weights_from_unet=True
            )
            trained = (
                _add_lora(control, spec.rank) if isinstance(spec, ControlLoraSpec) else control.requires_grad_(True)
            )
        self.control: ControlNetModel | PeftModel = nn.Module.to(trained.train(), device)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Noise loss of one batch."""
        noised = self._noising.noised(batch, self._autoencoder.pictures(batch))
        embeds = self._text(self._noising.prompts(batch))
        noise_pred = self._predict(noised.latents, noised.timesteps, embeds, self._hints(batch))
        return self._noising.loss(batch, noised, noise_pred, self._spec.loss)

    def export(self) -> None:
        """Write a ControlNet in diffusers' layout, weights in fp16."""
        control = copy.deepcopy(self.control)
        merged: ControlNetModel = control.merge_and_unload() if isinstance(control, PeftModel) else control
        save_network(merged, Path(self._spec.bundle) / CONTROLNETS / self._spec.part)

    @torch.no_grad()
    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Image, hint, generated image."""
        embeds, hints = self._text([row.prompt for row in batch.rows]), self._hints(batch)
        size = self._autoencoder.latent_size
        noise = self._noising.normal(batch, "preview", (4, size, size))
        latents = sample(lambda latents, steps: self._predict(latents, steps, embeds, hints), noise)
        return [image_tensor(batch.photos), hints.cpu() * 2 - 1, self._autoencoder.decode(latents).cpu()]

    def _predict(self, latents: Tensor, timesteps: Tensor, embeds: Tensor, hints: Tensor) -> Tensor:
        down, middle = self.control(latents, timesteps, embeds, controlnet_cond=hints, return_dict=False)
        return predict_noise(self._unet.net, latents, timesteps, embeds, [*down, middle])

    def _hints(self, batch: Batch) -> Tensor:
        images = [control_tensor(row.control(self._spec.control_image)) for row in batch.rows]
        return torch.stack(images).to(self._device)


def _add_lora(control: ControlNetModel, rank: int) -> PeftModel:
    whole = [name for name, _ in control.named_modules() if _TRAINED_WHOLE.match(name)]
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        init_lora_weights="gaussian",
        target_modules=[*LORA_TARGETS, *_CONVOLUTIONS],
        modules_to_save=whole,
    )
    return get_peft_model(control, config)
