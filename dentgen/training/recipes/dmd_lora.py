"""Recipe ``dmd-lora``: a LoRA for one to a few steps, distilled by distribution matching with control attached.

The student's images are moved to where the teacher finds them likelier than a critic does, which learns to denoise the
student's own images (DMD2, Yin et al. 2024, https://arxiv.org/abs/2405.14867; written from the paper, without its
adversarial loss). A later step of the student learns on what its own earlier steps made, as in use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from diffusers import LCMScheduler
from jaxtyping import Float, Int64
from torch import Tensor

from dentgen.models.trained_sampling import TrainedSampling
from dentgen.seeding import numpy_generator
from dentgen.spec.train_sections import TRAIN_STEPS
from dentgen.spec.train_students import DmdLoraSpec
from dentgen.training.data.rows import Batch
from dentgen.training.distillation import Distillation, Shown
from dentgen.training.lora_student import lora_unet, start_from, write_lora
from dentgen.training.miniature import SCHEDULER_CONFIG
from dentgen.training.preview import predict_noise
from dentgen.training.recipes.recipe import Recipe

#: Timesteps at which teacher and critic are compared, as in the paper; at the ends of the axis they say little.
_COMPARED: Final = (20, 980)
_SMALLEST: Final = 1e-8


class DmdLoraRecipe(Recipe):
    """Trains ``bundle/loras/NAME``, and a critic that is not exported.

    Every step trains one of the two: ``critic_steps`` steps the critic, then one the student.
    """

    def __init__(self, spec: DmdLoraSpec, device: torch.device) -> None:
        """Add a LoRA to each of two copies of the bundle's UNet: the student's, and the critic's fresh one.

        Raises:
            BundleError: If the bundle lacks the spec's adapter or the LoRA to start from.
            SpecError: If that LoRA has another rank or other layers.
        """
        super().__init__()
        self._spec, self._device, self.cycle = spec, device, spec.critic_steps + 1
        self._distillation = Distillation(spec, device)
        self._timesteps = lcm_timesteps(spec.sampling_steps)
        self.student = lora_unet(spec, device, spec.recipe)
        self.critic = lora_unet(spec, device, f"{spec.recipe} critic")
        if spec.start_lora:
            start_from(self.student, Path(spec.bundle), spec.start_lora)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """The student and the critic, which has a learning rate of its own."""
        rates = ((self.student, learning_rate), (self.critic, self._spec.critic_learning_rate or learning_rate))
        return [{"params": [p for p in net.parameters() if p.requires_grad], "lr": rate} for net, rate in rates]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of whichever is trained in this step; both in validation, which trains nothing."""
        shown = self._distillation.shown(batch)
        if not self.training:
            student, critic = self._student_loss(batch, shown), self._critic_loss(batch, shown)
            return {"loss": student + critic, "student": student, "critic": critic}
        if self.trains_student(batch.step):
            loss = self._student_loss(batch, shown)
            return {"loss": loss, "student": loss.detach()}
        loss = self._critic_loss(batch, shown)
        return {"loss": loss, "critic": loss.detach()}

    def trains_student(self, step: int) -> bool:
        """Whether a step, counted from 0, trains the student; the others train the critic."""
        return (step + 1) % (self._spec.critic_steps + 1) == 0

    def export(self) -> None:
        """Write the student's LoRA in diffusers' layout, weights in fp16; its header says how to sample with it."""
        sampling = TrainedSampling("lcm", self._timesteps)
        write_lora(self.student, Path(self._spec.bundle), self._spec.part, sampling.header())

    def preview(self, batch: Batch) -> list[Float[Tensor, "b 3 H W"]]:
        """Image, control image, image generated in the student's steps."""
        scheduler = LCMScheduler.from_config(SCHEDULER_CONFIG)
        return self._distillation.preview(batch, self.student, scheduler, self._spec.sampling_steps)

    def _student_loss(self, batch: Batch, shown: Shown) -> Tensor:
        images = self._images(batch, shown)
        return matching_loss(images, self._gradient(batch, images.detach(), shown))

    @torch.no_grad()
    def _gradient(self, batch: Batch, images: Tensor, shown: Shown) -> Float[Tensor, "b 4 h w"]:
        """Where the student's images should not be: from the teacher's idea of them to the critic's.

        Scaled by the distance to the teacher's (DMD, Yin et al. 2023, eq. 8, https://arxiv.org/abs/2311.18828).
        """
        shared = self._distillation
        timesteps = self._drawn(batch, "compared", *_COMPARED)
        noisy, residuals = shared.noisy(batch, images, timesteps, "compared"), shared.residuals(timesteps, shown)
        guidance = torch.full((len(batch),), self._spec.guidance, device=self._device)
        real = shared.teacher_noise(noisy, timesteps, shown, residuals, guidance)
        fake = predict_noise(self.critic, noisy, timesteps, shown.embeds, residuals)
        return matching_gradient(images, shared.clean(noisy, real, timesteps), shared.clean(noisy, fake, timesteps))

    def _critic_loss(self, batch: Batch, shown: Shown) -> Tensor:
        """Squared error of the critic's noise prediction on the student's images."""
        shared = self._distillation
        with torch.no_grad():
            images = self._images(batch, shown)
        timesteps = self._drawn(batch, "critic", 0, TRAIN_STEPS)
        noise = shared.networks.noising.normal(batch, "critic", tuple(images.shape[1:]))
        noisy = shared.networks.noising.add_noise(images, noise, timesteps)
        residuals = shared.residuals(timesteps, shown)
        predicted = predict_noise(self.critic, noisy, timesteps, shown.embeds, residuals)
        return (predicted - noise).square().mean()

    def _images(self, batch: Batch, shown: Shown) -> Float[Tensor, "b 4 h w"]:
        """The student's images after a drawn number of its steps; gradients flow through the last of them."""
        shared, size = self._distillation, self._distillation.networks.autoencoder.latent_size
        latents = shared.networks.noising.normal(batch, "noise", (4, size, size))
        last = self._last_step(batch)
        with torch.no_grad():
            for number, (step, following) in enumerate(zip(self._timesteps[:last], self._timesteps[1:], strict=False)):
                images = self._step(latents, step, shown)
                latents = shared.noisy(batch, images, self._at(following, batch), f"noise {number + 1}")
        return self._step(latents, self._timesteps[last], shown)

    def _last_step(self, batch: Batch) -> int:
        """Number of the step whose images are used: drawn for the whole step of the run, so that workers agree."""
        rng = numpy_generator(self._spec.seed, self._spec.recipe, "last step", batch.step)
        return int(rng.integers(len(self._timesteps)))

    def _step(self, latents: Tensor, timestep: int, shown: Shown) -> Float[Tensor, "b 4 h w"]:
        """Clean latents that the student sees in noisy ones."""
        timesteps = torch.full((len(latents),), timestep, device=self._device)
        residuals = self._distillation.residuals(timesteps, shown)
        noise = predict_noise(self.student, latents, timesteps, shown.embeds, residuals)
        return self._distillation.clean(latents, noise, timesteps)

    def _drawn(self, batch: Batch, purpose: str, low: int, high: int) -> Int64[Tensor, " b"]:
        generators = self._distillation.networks.noising.generators(batch, f"timestep {purpose}")
        return torch.tensor([int(rng.integers(low, high)) for rng in generators], device=self._device)

    def _at(self, timestep: int, batch: Batch) -> Int64[Tensor, " b"]:
        return torch.full((len(batch),), timestep, device=self._device)


def lcm_timesteps(steps: int) -> tuple[int, ...]:
    """Timesteps of LCMScheduler in so many steps, as a build samples."""
    scheduler = LCMScheduler.from_config(SCHEDULER_CONFIG)
    scheduler.set_timesteps(steps)
    return tuple(int(step) for step in scheduler.timesteps)


def matching_gradient(
    images: Float[Tensor, "b 4 h w"], real: Float[Tensor, "b 4 h w"], fake: Float[Tensor, "b 4 h w"]
) -> Float[Tensor, "b 4 h w"]:
    """The critic's idea of the images minus the teacher's, over the mean distance of images and the teacher's.

    Args:
        images: Clean latents.
        real: What the teacher makes of them, noised.
        fake: What the critic makes of them, noised alike.
    """
    distance = (images - real).abs().mean(dim=(1, 2, 3), keepdim=True)
    return (fake - real) / distance.clamp_min(_SMALLEST)


def matching_loss(images: Float[Tensor, "b 4 h w"], gradient: Float[Tensor, "b 4 h w"]) -> Tensor:
    """A loss whose gradient by the images is the given one, over their number of elements."""
    target = (images - gradient).detach()
    return (images - target).square().mean() / 2
