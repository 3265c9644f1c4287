"""Recipe ``lcm-lora``: a LoRA that makes the UNet consistent in few steps, distilled with its control attached.

Teacher, student and target all get the residuals of one adapter, so what is distilled is the controlled model
(Luo et al. 2023, https://arxiv.org/abs/2310.04378 and https://arxiv.org/abs/2311.05556). Refuses to know samplers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from diffusers import LCMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from jaxtyping import Float, Int64
from peft import LoraConfig, get_peft_model_state_dict
from torch import Tensor, nn

from dentgen.models.control import control_residuals
from dentgen.models.parts import LORAS
from dentgen.seeding import fresh_weights
from dentgen.spec.train import TRAIN_STEPS, TrainSpec
from dentgen.training.data.rows import Batch
from dentgen.training.frozen_networks import (
    FrozenAutoencoder,
    FrozenText,
    control_tensor,
    frozen,
    frozen_unet,
    image_tensor,
)
from dentgen.training.generated_latents import controlled
from dentgen.training.losses import consistency_loss
from dentgen.training.miniature import SCHEDULER_CONFIG
from dentgen.training.noising import Noising
from dentgen.training.preview import predicted, sampled
from dentgen.training.recipes.recipe import Recipe

_TARGETS: Final = (
    "to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2",
    "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj",
)  # fmt: skip
_SIGMA_DATA: Final = 0.5
_TIMESTEP_SCALING: Final = 10.0
_PREVIEW_STEPS: Final = 4


class LcmLoraRecipe(Recipe):
    """Trains ``bundle/loras/NAME``."""

    def __init__(self, spec: TrainSpec, device: torch.device) -> None:
        """Put a fresh LoRA on a copy of the bundle's UNet."""
        super().__init__()
        self._spec, self._device = spec, device
        self._autoencoder, self._noising = FrozenAutoencoder(spec, device), Noising(spec, device)
        self._text = FrozenText(spec, device)
        self._frozen = (frozen_unet(spec, device), frozen(controlled(spec), device))
        self.student: UNet2DConditionModel = frozen_unet(spec, device)
        with fresh_weights(spec.seed, "weights", "lcm-lora"):
            self.student.add_adapter(LoraConfig(r=spec.rank, lora_alpha=spec.rank, target_modules=list(_TARGETS)))
        self.student.train()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Distance between the student's answers at two neighbouring timesteps of the teacher's solver."""
        clean = self._autoencoder.pictures(batch)
        start, end, guidance = self._drawn(batch)
        noisy = self._noising.between(clean, self._noising.normal(batch, "noise", tuple(clean.shape[1:])), start)
        prompts = [row.prompt for row in batch.rows]
        embeds = self._text(prompts)
        empty = self._text([""]).expand_as(embeds)
        condition = self._condition(batch)
        residuals = self._residuals(condition, start, embeds)
        answer = self._answer(self.student, noisy, start, embeds, residuals)
        with torch.no_grad():
            noise = self._guided(noisy, start, embeds, empty, residuals, condition, guidance)
            earlier = self._noising.between(self._picture(noisy, noise, start), noise, end)
            target = self._answer(self.student, earlier, end, embeds, self._residuals(condition, end, embeds))
        return {"loss": consistency_loss(answer, target), "mse": (answer - target).square().mean().detach()}

    def export(self) -> None:
        """Write the LoRA as diffusers does, weights in fp16."""
        layers = {name: value.half() for name, value in get_peft_model_state_dict(self.student).items()}
        folder = Path(self._spec.bundle) / LORAS / (self._spec.name or "lcm")
        StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)

    @torch.no_grad()
    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Picture, control image, generated picture after four steps."""
        embeds, condition = self._text([row.prompt for row in batch.rows]), self._condition(batch)
        size = self._autoencoder.latent_size

        def noise_of(latents: Tensor, steps: Tensor) -> Tensor:
            return predicted(self.student, latents, steps, embeds, self._residuals(condition, steps, embeds))

        noise = self._noising.normal(batch, "preview", (4, size, size))
        scheduler = LCMScheduler.from_config(SCHEDULER_CONFIG)
        latents = sampled(noise_of, noise, scheduler, _PREVIEW_STEPS, self._spec.seed)
        shown = torch.stack([control_tensor(row.control(self._spec.condition)) for row in batch.rows]) * 2 - 1
        return [image_tensor(batch.photos), shown, self._autoencoder.decode(latents).cpu()]

    def _drawn(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Timestep, the solver's next one, guidance: (b,) each."""
        drawn = self._noising.generators(batch, "ladder")
        stride, (low, high) = TRAIN_STEPS // self._spec.ladder, self._spec.guidance
        start = torch.tensor([stride * int(rng.integers(1, self._spec.ladder + 1)) - 1 for rng in drawn])
        guidance = torch.tensor([rng.uniform(low, high) for rng in drawn], dtype=torch.float32)
        end = (start - stride).clamp_min(0)
        return start.to(self._device), end.to(self._device), guidance.to(self._device)

    def _condition(self, batch: Batch) -> Tensor:
        return self._autoencoder.controls(batch.rows, [self._spec.condition] * len(batch))

    def _residuals(self, condition: Tensor, timesteps: Tensor, embeds: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return control_residuals(self._frozen[1], condition, timesteps, embeds)

    def _guided(
        self, noisy: Tensor, start: Tensor, embeds: Tensor, empty: Tensor, residuals: list[Tensor],
        condition: Tensor, guidance: Tensor,
    ) -> Tensor:  # fmt: skip
        """The teacher's noise, guided away from the empty prompt."""
        teacher = self._frozen[0]
        noise = predicted(teacher, noisy, start, embeds, residuals)
        without = predicted(teacher, noisy, start, empty, self._residuals(condition, start, empty))
        return noise + guidance[:, None, None, None] * (noise - without)

    def _picture(self, noisy: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Clean latents that a noise prediction stands for."""
        abar = self._noising.alphas_cumprod[timesteps][:, None, None, None]
        return (noisy - (1 - abar).sqrt() * noise) / abar.sqrt()

    def _answer(
        self, net: nn.Module, noisy: Tensor, timesteps: Tensor, embeds: Tensor, residuals: list[Tensor]
    ) -> Float[Tensor, "b 4 h w"]:
        skip, out = boundary_scalings(timesteps)
        clean = self._picture(noisy, predicted(net, noisy, timesteps, embeds, residuals), timesteps)
        return skip[:, None, None, None] * noisy + out[:, None, None, None] * clean


def boundary_scalings(timesteps: Int64[Tensor, " b"]) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """c_skip and c_out (Luo et al. 2023, eq. 9, as LCMScheduler has them): at timestep 0 the input is the answer."""
    scaled = timesteps.float() * _TIMESTEP_SCALING
    skip = _SIGMA_DATA**2 / (scaled**2 + _SIGMA_DATA**2)
    return skip, scaled / (scaled**2 + _SIGMA_DATA**2).sqrt()
