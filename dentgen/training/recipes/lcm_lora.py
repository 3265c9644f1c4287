"""Recipe ``lcm-lora``: a LoRA for few-step sampling, distilled with control attached.

Teacher, student and target all get the residuals of one adapter, so it is the controlled model that is distilled
(Luo et al. 2023, https://arxiv.org/abs/2310.04378 and https://arxiv.org/abs/2311.05556).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from diffusers import LCMScheduler
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dentgen.spec.train_students import LcmLoraSpec
from dentgen.training.data.rows import Batch
from dentgen.training.distillation import Distillation, Shown
from dentgen.training.lora_student import lora_unet, write_lora
from dentgen.training.losses import consistency_loss
from dentgen.training.miniature import SCHEDULER_CONFIG
from dentgen.training.preview import predict_noise
from dentgen.training.recipes.recipe import Recipe

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
        self._spec, self._distillation = spec, Distillation(spec, device)
        self.student = lora_unet(spec, device, spec.recipe)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Distance between the student's predictions at two neighbouring timesteps of the teacher's solver."""
        shared = self._distillation
        shown, jump = shared.shown(batch), shared.draw(batch, self._spec)
        noisy = shared.noisy(batch, shared.networks.autoencoder.pictures(batch), jump.start)
        residuals = shared.residuals(jump.start, shown)
        prediction = self._predict(self.student, noisy, jump.start, shown, residuals)
        with torch.no_grad():
            noise = shared.teacher_noise(noisy, jump.start, shown, residuals, jump.guidance + 1)
            earlier = shared.ddim_step(noisy, noise, jump.start, jump.end)
            target = self._predict(self.student, earlier, jump.end, shown, shared.residuals(jump.end, shown))
        return {"loss": consistency_loss(prediction, target), "mse": (prediction - target).square().mean().detach()}

    def export(self) -> None:
        """Write the LoRA in diffusers' layout, weights in fp16."""
        write_lora(self.student, Path(self._spec.bundle), self._spec.part, {})

    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Image, control image, image generated in four steps."""
        scheduler = LCMScheduler.from_config(SCHEDULER_CONFIG)
        return self._distillation.preview(batch, self.student, scheduler, _PREVIEW_STEPS)

    def _predict(
        self, net: nn.Module, noisy: Tensor, timesteps: Tensor, shown: Shown, residuals: list[Tensor] | None
    ) -> Float[Tensor, "b 4 h w"]:
        """The consistency function f(x, t) = c_skip x + c_out x0(x, t)."""
        skip, out = boundary_scalings(timesteps)
        noise = predict_noise(net, noisy, timesteps, shown.embeds, residuals)
        clean = self._distillation.clean(noisy, noise, timesteps)
        return skip[:, None, None, None] * noisy + out[:, None, None, None] * clean


def boundary_scalings(timesteps: Int64[Tensor, " b"]) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """c_skip and c_out as in LCMScheduler; at timestep 0 they are 1 and 0, so that f is the identity.

    Luo et al. 2023, eq. 9, https://arxiv.org/abs/2310.04378.
    """
    scaled = timesteps.float() * _TIMESTEP_SCALING
    skip = _SIGMA_DATA**2 / (scaled**2 + _SIGMA_DATA**2)
    return skip, scaled / (scaled**2 + _SIGMA_DATA**2).sqrt()
