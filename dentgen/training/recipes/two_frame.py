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
from diffusers import UNet2DConditionModel
from jaxtyping import Float
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor

from dentgen.models.control import control_residuals
from dentgen.models.parts import LORAS
from dentgen.seeding import fresh_weights
from dentgen.spec.train_recipes import TwoFrameSpec
from dentgen.training.data.rows import Batch
from dentgen.training.frozen_networks import (
    FrozenAutoencoder,
    FrozenText,
    Unregistered,
    control_tensor,
    freeze,
    frozen_unet,
    image_tensor,
)
from dentgen.training.generated_latents import load_adapted_control
from dentgen.training.noising import Noised, Noising
from dentgen.training.preview import predict_noise, sample
from dentgen.training.recipes.recipe import Recipe

#: What in the header of the weights says that a LoRA draws two frames.
HEADER: Final = {"dentgen_lora": json.dumps({"kind": "two-frame", "frames": 2, "kept": "left"}), "format": "pt"}
WEIGHTS: Final = "pytorch_lora_weights.safetensors"
_TARGETS: Final = (
    "to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2",
)  # fmt: skip


class TwoFrameRecipe(Recipe):
    """Trains ``bundle/loras/NAME``."""

    def __init__(self, spec: TwoFrameSpec, device: torch.device) -> None:
        """Add a fresh LoRA to a copy of the bundle's UNet.

        Raises:
            BundleError: If the bundle lacks the spec's adapter.
        """
        super().__init__()
        self._spec, self._device = spec, device
        self._autoencoder, self._noising = FrozenAutoencoder(spec, device), Noising(spec, device)
        self._text = FrozenText(spec, device)
        self._control = Unregistered(freeze(load_adapted_control(Path(spec.bundle), spec.adapter), device))
        self.student: UNet2DConditionModel = frozen_unet(spec, device)
        with fresh_weights(spec.seed, "weights", "two-frame"):
            self.student.add_adapter(LoraConfig(r=spec.rank, lora_alpha=spec.rank, target_modules=list(_TARGETS)))
        self.student.train()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Noise losses of both frames, weighted."""
        noised = self._noising.noised(batch, self._frames(batch))
        embeds = self._text(self._noising.prompts(batch))
        noise_pred = self._predict(noised.latents, noised.timesteps, embeds, self._condition(batch))
        left, right = (
            self._noising.loss(rows, frame, prediction, self._spec.loss)
            for rows, frame, prediction in zip(
                (batch, batch.partners), _halves_of(noised), noise_pred.chunk(2, -1), strict=True
            )
        )
        weights = self._spec.reference_weight, self._spec.edit_weight
        loss = (weights[0] * left["loss"] + weights[1] * right["loss"]) / sum(weights)
        return {"loss": loss, "mse_reference": left["mse"], "mse": right["mse"]}

    def export(self) -> None:
        """Write the LoRA in diffusers' layout, weights in fp16; its header says what it is for."""
        layers = get_peft_model_state_dict(self.student)
        folder = Path(self._spec.bundle) / LORAS / self._spec.part
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"unet.{name}": value.detach().half().cpu().contiguous() for name, value in sorted(layers.items())}
        save_file(tensors, folder / WEIGHTS, metadata=HEADER)

    @torch.no_grad()
    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Reference, control image of the target, target as drawn from the reference."""
        embeds, condition = self._text([row.prompt for row in batch.rows]), self._condition(batch)
        reference = self._autoencoder.pictures(batch)
        size = self._autoencoder.latent_size

        def noise_of(latents: Tensor, steps: Tensor) -> Tensor:
            left, right = latents.chunk(2, -1)[0], self._predict(latents, steps, embeds, condition).chunk(2, -1)[1]
            abar = self._noising.alphas_cumprod[steps][:, None, None, None]
            return torch.cat([(left - abar.sqrt() * reference) / (1 - abar).sqrt(), right], -1)

        latents = sample(noise_of, self._noising.normal(batch, "preview", (4, size, 2 * size)))
        shown = [control_tensor(row.control(self._spec.control_image)) * 2 - 1 for row in batch.partners.rows]
        drawn = self._autoencoder.decode(latents.chunk(2, -1)[1].contiguous()).cpu()
        return [image_tensor(batch.photos), torch.stack(shown), drawn]

    def _frames(self, batch: Batch) -> Float[Tensor, "b 4 h w2"]:
        """Clean latents of reference and target side by side."""
        return torch.cat([self._autoencoder.pictures(rows) for rows in (batch, batch.partners)], -1)

    def _condition(self, batch: Batch) -> Float[Tensor, "b 4 h w2"]:
        kinds = [self._spec.control_image] * len(batch)
        return torch.cat([self._autoencoder.controls(part.rows, kinds) for part in (batch, batch.partners)], -1)

    def _predict(self, latents: Tensor, timesteps: Tensor, embeds: Tensor, condition: Tensor) -> Tensor:
        with torch.no_grad():
            residuals = control_residuals(self._control.net, condition, timesteps, embeds)
            residuals = [residual * self._spec.adapter_scale for residual in residuals]
        return predict_noise(self.student, latents, timesteps, embeds, residuals)


def _halves_of(noised: Noised) -> list[Noised]:
    """Left and right frame."""
    pairs = zip(noised.latents.chunk(2, -1), noised.noise.chunk(2, -1), strict=True)
    return [Noised(latents, noise, noised.timesteps) for latents, noise in pairs]
