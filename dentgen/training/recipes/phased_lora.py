"""Recipe ``phased-lora``: a LoRA that samples in a fixed number of DDIM steps, distilled with control attached.

The time axis is cut into phases. From any point of a phase the student steps to the phase's end in one DDIM step, and
must arrive where it arrives from the next point of the guided teacher's path (phased consistency models, Wang et al.
2024, https://arxiv.org/abs/2405.18407; written from the paper, without its adversarial loss).
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDIMScheduler
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dentgen.models.trained_sampling import TrainedSampling
from dentgen.spec.train_sections import TRAIN_STEPS
from dentgen.spec.train_students import PhasedLoraSpec
from dentgen.training.data.rows import Batch
from dentgen.training.distillation import Distillation, Shown
from dentgen.training.lora_student import lora_unet, write_lora
from dentgen.training.losses import consistency_loss
from dentgen.training.miniature import SCHEDULER_CONFIG
from dentgen.training.preview import predict_noise
from dentgen.training.recipes.recipe import Recipe


class PhasedLoraRecipe(Recipe):
    """Trains ``bundle/loras/NAME``."""

    def __init__(self, spec: PhasedLoraSpec, device: torch.device) -> None:
        """Add a fresh LoRA to a copy of the bundle's UNet.

        Raises:
            BundleError: If the bundle lacks the spec's adapter.
        """
        super().__init__()
        self._spec, self._distillation = spec, Distillation(spec, device)
        self.student = lora_unet(spec, device, spec.recipe)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Distance between the ends that the student reaches from two neighbouring points of the teacher's path."""
        shared = self._distillation
        shown, jump = shared.shown(batch), shared.draw(batch, self._spec)
        edge = phase_end(jump.start, self._spec.phases)
        noisy = shared.noisy(batch, shared.networks.autoencoder.pictures(batch), jump.start)
        residuals = shared.residuals(jump.start, shown)
        prediction = self._to_edge(self.student, noisy, jump.start, edge, shown, residuals)
        with torch.no_grad():
            noise = shared.teacher_noise(noisy, jump.start, shown, residuals, jump.guidance)
            earlier = shared.ddim_step(noisy, noise, jump.start, jump.end)
            target = self._to_edge(self.student, earlier, jump.end, edge, shown, shared.residuals(jump.end, shown))
        return {"loss": consistency_loss(prediction, target), "mse": (prediction - target).square().mean().detach()}

    def export(self) -> None:
        """Write the LoRA in diffusers' layout, weights in fp16; its header says how to sample with it."""
        sampling = TrainedSampling("ddim", phase_starts(self._spec.phases))
        write_lora(self.student, Path(self._spec.bundle), self._spec.part, sampling.header())

    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Image, control image, image generated in a step per phase."""
        scheduler = DDIMScheduler.from_config(SCHEDULER_CONFIG)
        return self._distillation.preview(batch, self.student, scheduler, self._spec.phases)

    def _to_edge(
        self,
        net: nn.Module,
        latents: Tensor,
        timesteps: Tensor,
        edge: Tensor,
        shown: Shown,
        residuals: list[Tensor] | None,
    ) -> Float[Tensor, "b 4 h w"]:
        """One DDIM step to the end of the phase; from there it is the identity."""
        noise = predict_noise(net, latents, timesteps, shown.embeds, residuals)
        return self._distillation.ddim_step(latents, noise, timesteps, edge)


def phase_starts(phases: int) -> tuple[int, ...]:
    """Timesteps where phases begin, the noisiest first: those of DDIM in as many steps with trailing spacing."""
    return tuple(TRAIN_STEPS * phase // phases - 1 for phase in range(phases, 0, -1))


def phase_end(timesteps: Int64[Tensor, " b"], phases: int) -> Int64[Tensor, " b"]:
    """Timestep where the phase of each timestep ends: where the next one begins, 0 after the last."""
    length = TRAIN_STEPS // phases
    return (timesteps // length * length - 1).clamp_min(0)
