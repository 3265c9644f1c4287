"""What a diffusion step draws for every row: timestep, noise, which words are left out.

A draw is named by seed, step and row, so it is the same however rows are spread over workers and parts. Refuses to
know networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from diffusers import DDPMScheduler
from jaxtyping import Float, Int64
from torch import Tensor

from dentgen.seeding import derive_seed, numpy_generator
from dentgen.spec.train import TrainSpec
from dentgen.training.data.rows import Batch, drop_words
from dentgen.training.losses import noise_loss, pixel_weights, snr_weights
from dentgen.training.miniature import SCHEDULER_CONFIG

_PROMPT_DROP: Final = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Noised:
    """One batch between picture and noise.

    Attributes:
        latents: (b, 4, h, w) noisy latents.
        noise: (b, 4, h, w).
        timesteps: (b,).
    """

    latents: Float[Tensor, "b 4 h w"]
    noise: Float[Tensor, "b 4 h w"]
    timesteps: Int64[Tensor, " b"]


class Noising:
    """Draws of a run, on Stable Diffusion 1.5's noise schedule."""

    def __init__(self, spec: TrainSpec, device: torch.device) -> None:
        """Take the schedule."""
        self._spec, self._device = spec, device
        self.alphas_cumprod: Tensor = DDPMScheduler.from_config(SCHEDULER_CONFIG).alphas_cumprod.to(device)

    def generators(self, batch: Batch, purpose: str) -> list[np.random.Generator]:
        """A generator for each row of a batch."""
        spec = self._spec
        return [
            numpy_generator(spec.seed, spec.recipe, purpose, batch.step, batch.first + i) for i in range(len(batch))
        ]

    def normal(self, batch: Batch, purpose: str, shape: tuple[int, ...]) -> Tensor:
        """Standard normal values (b, *shape)."""
        spec, rows = self._spec, range(batch.first, batch.first + len(batch))
        seeds = [derive_seed(spec.seed, spec.recipe, purpose, batch.step, row) for row in rows]
        values = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(values).to(self._device)

    def noised(self, batch: Batch, clean: Float[Tensor, "b 4 h w"]) -> Noised:
        """Every row at a timestep of its own."""
        drawn = [int(rng.integers(1000)) for rng in self.generators(batch, "timestep")]
        timesteps = torch.tensor(drawn, device=self._device)
        noise = self.normal(batch, "noise", tuple(clean.shape[1:]))
        return Noised(self.between(clean, noise, timesteps), noise, timesteps)

    def between(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Noisy latents: sqrt(abar) clean + sqrt(1 - abar) noise."""
        abar = self.alphas_cumprod[timesteps][:, None, None, None]
        return abar.sqrt() * clean + (1 - abar).sqrt() * noise

    def prompts(self, batch: Batch) -> list[str]:
        """Prompts with words and whole prompts left out at random."""
        generators = self.generators(batch, "prompt")
        return [
            "" if rng.random() < _PROMPT_DROP else drop_words(row.prompt, rng)
            for rng, row in zip(generators, batch.rows, strict=True)
        ]

    def loss(self, batch: Batch, noised: Noised, predicted: Tensor) -> dict[str, Tensor]:
        """Noise loss, min-SNR weighted over timesteps and as the spec says over pixels, beside the plain error."""
        square = (predicted - noised.noise).square()
        weights = None
        if not self._spec.loss.is_plain:
            seg = torch.from_numpy(batch.seg).to(self._device)
            weights = pixel_weights(seg, self._spec.loss, predicted.shape[-1])
        rows = snr_weights(self.alphas_cumprod, noised.timesteps, floor=self._spec.loss.snr_floor)
        return {"loss": noise_loss(predicted, noised.noise, rows, weights), "mse": square.mean().detach()}
