"""What the recipes of few-step students share: the guided teacher, DDIM steps, and what all networks are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dentgen.spec.train_sections import TRAIN_STEPS
from dentgen.spec.train_students import ConsistencySpec, StudentSpec
from dentgen.training.data.rows import Batch
from dentgen.training.frozen_networks import frozen_unet
from dentgen.training.lora_student import ControlledNetworks
from dentgen.training.preview import predict_noise


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What a batch's networks are shown beside noisy latents.

    Attributes:
        condition: (b, 4, h, w) encoded control images; None without an adapter.
        embeds: (b, tokens, width) embedded prompts.
        empty: (b, tokens, width) embedded empty prompts.
    """

    condition: Float[Tensor, "b 4 h w"] | None
    embeds: Float[Tensor, "b tokens width"]
    empty: Float[Tensor, "b tokens width"]


@dataclass(frozen=True, slots=True, eq=False)
class Jump:
    """Where a student's training looks: timesteps and guidance of every row, (b,) each.

    Attributes:
        start: Timestep of the noisy latents.
        end: The next one of the teacher's solver.
        guidance: The teacher's guidance_scale.
    """

    start: Int64[Tensor, " b"]
    end: Int64[Tensor, " b"]
    guidance: Float[Tensor, " b"]


class Distillation:
    """A frozen teacher with its control net; teacher and students get the residuals of one adapter.

    Attributes:
        networks: The networks around the UNets.
    """

    def __init__(self, spec: StudentSpec, device: torch.device) -> None:
        """Load the teacher.

        Raises:
            BundleError: If the bundle lacks the spec's adapter.
        """
        self._spec, self._device = spec, device
        self.networks = ControlledNetworks(spec, device)
        self._teacher = frozen_unet(spec, device)

    def shown(self, batch: Batch) -> Shown:
        """What the networks are shown of a batch."""
        embeds = self.networks.text([row.prompt for row in batch.rows])
        return Shown(self.networks.condition(batch), embeds, self.networks.text([""]).expand_as(embeds))

    def residuals(self, timesteps: Int64[Tensor, " b"], shown: Shown) -> list[Tensor] | None:
        """Residuals of the adapter under the rows' prompts; None without one."""
        return self.networks.residuals(shown.condition, timesteps, shown.embeds)

    @torch.no_grad()
    def teacher_noise(
        self,
        latents: Float[Tensor, "b 4 h w"],
        timesteps: Int64[Tensor, " b"],
        shown: Shown,
        residuals: list[Tensor] | None,
        guidance: Float[Tensor, " b"],
    ) -> Float[Tensor, "b 4 h w"]:
        """The teacher's noise prediction under classifier-free guidance; scale 1 is the plain prediction, exactly.

        Args:
            latents: Noisy latents.
            timesteps: Their timesteps.
            shown: What the networks are shown.
            residuals: Those under the rows' prompts.
            guidance: The guidance_scale of every row.
        """
        noise = predict_noise(self._teacher, latents, timesteps, shown.embeds, residuals)
        if bool((guidance == 1).all()):
            return noise
        unprompted = self.networks.residuals(shown.condition, timesteps, shown.empty)
        unconditional = predict_noise(self._teacher, latents, timesteps, shown.empty, unprompted)
        return noise + (guidance - 1)[:, None, None, None] * (noise - unconditional)

    def clean(
        self, latents: Float[Tensor, "b 4 h w"], noise: Float[Tensor, "b 4 h w"], timesteps: Int64[Tensor, " b"]
    ) -> Float[Tensor, "b 4 h w"]:
        """Clean latents that a noise prediction implies."""
        return self.networks.noising.denoise(latents, noise, timesteps)

    def ddim_step(
        self,
        latents: Float[Tensor, "b 4 h w"],
        noise: Float[Tensor, "b 4 h w"],
        start: Int64[Tensor, " b"],
        end: Int64[Tensor, " b"],
    ) -> Float[Tensor, "b 4 h w"]:
        """The step of the deterministic DDIM solver from one timestep to another.

        Song et al. 2020, eq. 12 with sigma = 0, https://arxiv.org/abs/2010.02502.
        """
        return self.networks.noising.add_noise(self.clean(latents, noise, start), noise, end)

    def draw(self, batch: Batch, spec: ConsistencySpec) -> Jump:
        """A rung of the ladder, the next lower one (timestep 0 below the last) and a guidance for every row."""
        generators = self.networks.noising.generators(batch, "ladder")
        stride, (low, high) = TRAIN_STEPS // spec.ladder, spec.guidance
        start = torch.tensor([stride * int(rng.integers(1, spec.ladder + 1)) - 1 for rng in generators])
        guidance = torch.tensor([rng.uniform(low, high) for rng in generators], dtype=torch.float32)
        return Jump(start.to(self._device), (start - stride).clamp_min(0).to(self._device), guidance.to(self._device))

    def noisy(
        self, batch: Batch, clean: Float[Tensor, "b 4 h w"], timesteps: Int64[Tensor, " b"], purpose: str = "noise"
    ) -> Float[Tensor, "b 4 h w"]:
        """Noisy latents of clean ones; the purpose names the draw."""
        noising = self.networks.noising
        return noising.add_noise(clean, noising.normal(batch, purpose, tuple(clean.shape[1:])), timesteps)

    @torch.no_grad()
    def preview(self, batch: Batch, student: nn.Module, scheduler: Any, steps: int) -> list[Float[Tensor, "b 3 H W"]]:
        """Image, control image, image that the student generates."""
        return self.networks.preview(batch, student, scheduler, steps, self._spec.seed)
