"""Recipe ``lcm-lora``: a LoRA for few-step sampling, distilled with control attached.

Teacher, student and target all get the residuals of one adapter, so it is the controlled model that is distilled
(Luo et al. 2023, https://arxiv.org/abs/2310.04378 and https://arxiv.org/abs/2311.05556).
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
from dentgen.spec.train_recipes import LcmLoraSpec
from dentgen.spec.train_sections import TRAIN_STEPS
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
from dentgen.training.losses import consistency_loss
from dentgen.training.miniature import SCHEDULER_CONFIG
from dentgen.training.noising import Noising
from dentgen.training.preview import predict_noise, sample
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

    def __init__(self, spec: LcmLoraSpec, device: torch.device) -> None:
        """Add a fresh LoRA to a copy of the bundle's UNet.

        Raises:
            BundleError: If the bundle lacks the spec's adapter.
        """
        super().__init__()
        self._spec, self._device = spec, device
        self._autoencoder, self._noising = FrozenAutoencoder(spec, device), Noising(spec, device)
        self._text = FrozenText(spec, device)
        self._teacher = Unregistered(frozen_unet(spec, device))
        self._control = Unregistered(freeze(load_adapted_control(Path(spec.bundle), spec.adapter), device))
        self.student: UNet2DConditionModel = frozen_unet(spec, device)
        with fresh_weights(spec.seed, "weights", "lcm-lora"):
            self.student.add_adapter(LoraConfig(r=spec.rank, lora_alpha=spec.rank, target_modules=list(_TARGETS)))
        self.student.train()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Distance between the student's predictions at two neighbouring timesteps of the teacher's solver."""
        clean = self._autoencoder.pictures(batch)
        start, end, guidance = self._draw(batch)
        noisy = self._noising.add_noise(clean, self._noising.normal(batch, "noise", tuple(clean.shape[1:])), start)
        prompts = [row.prompt for row in batch.rows]
        embeds = self._text(prompts)
        empty = self._text([""]).expand_as(embeds)
        condition = self._condition(batch)
        residuals = self._residuals(condition, start, embeds)
        prediction = self._predict(self.student, noisy, start, embeds, residuals)
        with torch.no_grad():
            noise = self._guided_noise(noisy, start, embeds, empty, residuals, condition, guidance)
            earlier = self._noising.add_noise(self._noising.denoise(noisy, noise, start), noise, end)
            target = self._predict(self.student, earlier, end, embeds, self._residuals(condition, end, embeds))
        return {"loss": consistency_loss(prediction, target), "mse": (prediction - target).square().mean().detach()}

    def export(self) -> None:
        """Write the LoRA in diffusers' layout, weights in fp16."""
        layers = {name: value.half() for name, value in get_peft_model_state_dict(self.student).items()}
        folder = Path(self._spec.bundle) / LORAS / self._spec.part
        StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)

    @torch.no_grad()
    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Image, control image, image generated in four steps."""
        embeds, condition = self._text([row.prompt for row in batch.rows]), self._condition(batch)
        size = self._autoencoder.latent_size

        def noise_of(latents: Tensor, steps: Tensor) -> Tensor:
            return predict_noise(self.student, latents, steps, embeds, self._residuals(condition, steps, embeds))

        noise = self._noising.normal(batch, "preview", (4, size, size))
        scheduler = LCMScheduler.from_config(SCHEDULER_CONFIG)
        latents = sample(noise_of, noise, scheduler, _PREVIEW_STEPS, self._spec.seed)
        shown = torch.stack([control_tensor(row.control(self._spec.control_image)) for row in batch.rows]) * 2 - 1
        return [image_tensor(batch.photos), shown, self._autoencoder.decode(latents).cpu()]

    def _draw(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Timestep, the solver's next one, guidance scale: (b,) each."""
        generators = self._noising.generators(batch, "ladder")
        stride, (low, high) = TRAIN_STEPS // self._spec.ladder, self._spec.guidance
        start = torch.tensor([stride * int(rng.integers(1, self._spec.ladder + 1)) - 1 for rng in generators])
        guidance = torch.tensor([rng.uniform(low, high) for rng in generators], dtype=torch.float32)
        end = (start - stride).clamp_min(0)
        return start.to(self._device), end.to(self._device), guidance.to(self._device)

    def _condition(self, batch: Batch) -> Tensor:
        return self._autoencoder.controls(batch.rows, [self._spec.control_image] * len(batch))

    def _residuals(self, condition: Tensor, timesteps: Tensor, embeds: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return control_residuals(self._control.net, condition, timesteps, embeds)

    def _guided_noise(
        self, noisy: Tensor, start: Tensor, embeds: Tensor, empty: Tensor, residuals: list[Tensor],
        condition: Tensor, guidance: Tensor,
    ) -> Tensor:  # fmt: skip
        """The teacher's noise prediction under classifier-free guidance."""
        teacher = self._teacher.net
        noise = predict_noise(teacher, noisy, start, embeds, residuals)
        unconditional = predict_noise(teacher, noisy, start, empty, self._residuals(condition, start, empty))
        return noise + guidance[:, None, None, None] * (noise - unconditional)

    def _predict(
        self, net: nn.Module, noisy: Tensor, timesteps: Tensor, embeds: Tensor, residuals: list[Tensor]
    ) -> Float[Tensor, "b 4 h w"]:
        """The consistency function f(x, t) = c_skip x + c_out x0(x, t)."""
        skip, out = boundary_scalings(timesteps)
        clean = self._noising.denoise(noisy, predict_noise(net, noisy, timesteps, embeds, residuals), timesteps)
        return skip[:, None, None, None] * noisy + out[:, None, None, None] * clean


def boundary_scalings(timesteps: Int64[Tensor, " b"]) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """c_skip and c_out as in LCMScheduler; at timestep 0 they are 1 and 0, so that f is the identity.

    Luo et al. 2023, eq. 9, https://arxiv.org/abs/2310.04378.
    """
    scaled = timesteps.float() * _TIMESTEP_SCALING
    skip = _SIGMA_DATA**2 / (scaled**2 + _SIGMA_DATA**2)
    return skip, scaled / (scaled**2 + _SIGMA_DATA**2).sqrt()
