"""What a diffusion step draws for every row: timestep, noise, omitted words; and the noise loss.

A draw is named by seed, step and row, so it does not depend on how rows are spread over workers and parts.
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
from dentgen.spec.train_sections import TRAIN_STEPS, CommonSpec, LossSpec
from dentgen.training.data.rows import Batch, drop_words
from dentgen.training.losses import noise_loss, pixel_weights, snr_weights
from dentgen.training.miniature import SCHEDULER_CONFIG

#: Share of rows that train without prompt, for classifier-free guidance.
_PROMPT_DROP: Final = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Noised:
    """A noised batch.

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

    def __init__(self, spec: CommonSpec, device: torch.device) -> None:
        """Compute the schedule."""
        self._spec, self._device = spec, device
        self.alphas_cumprod: Tensor = DDPMScheduler.from_config(SCHEDULER_CONFIG).alphas_cumprod.to(device)

    def generators(self, batch: Batch, purpose: str) -> list[np.random.Generator]:
        """A generator for each row of a batch."""
        return self.row_generators(purpose, batch.step, range(batch.first, batch.first + len(batch)))

    def row_generators(self, purpose: str, step: int, rows: range) -> list[np.random.Generator]:
        """A generator for each row of a step, also for rows that another worker computes."""
        spec = self._spec
        return [numpy_generator(spec.seed, spec.draws, purpose, step, row) for row in rows]

    def normal(self, batch: Batch, purpose: str, shape: tuple[int, ...]) -> Tensor:
        """Standard normal values (b, *shape), float32."""
        spec, rows = self._spec, range(batch.first, batch.first + len(batch))
        seeds = [derive_seed(spec.seed, spec.draws, purpose, batch.step, row) for row in rows]
        values = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(values).to(self._device)

    def noised(
        self, batch: Batch, clean: Float[Tensor, "b 4 h w"], timesteps: Int64[Tensor, " b"] | None = None
    ) -> Noised:
        """Add noise to every row at its own timestep, drawn uniformly unless given."""
        if timesteps is None:
            drawn = [int(rng.integers(TRAIN_STEPS)) for rng in self.generators(batch, "timestep")]
            timesteps = torch.tensor(drawn, device=self._device)
        noise = self.normal(batch, "noise", tuple(clean.shape[1:]))
        return Noised(self.add_noise(clean, noise, timesteps), noise, timesteps)

    def add_noise(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Noisy latents: sqrt(abar) clean + sqrt(1 - abar) noise."""
        abar = self.alphas_cumprod[timesteps][:, None, None, None]
        return abar.sqrt() * clean + (1 - abar).sqrt() * noise

    def denoise(self, noisy: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Clean latents that a noise prediction implies: (noisy - sqrt(1 - abar) noise) / sqrt(abar)."""
        abar = self.alphas_cumprod[timesteps][:, None, None, None]
        return (noisy - (1 - abar).sqrt() * noise) / abar.sqrt()

    def prompts(self, batch: Batch) -> list[str]:
        """Prompts of the rows, some of them empty, those of phantoms with words left out."""
        generators = self.generators(batch, "prompt")
        return [
            "" if rng.random() < _PROMPT_DROP else drop_words(row.prompt, rng)
            for rng, row in zip(generators, batch.rows, strict=True)
        ]

    def loss(
        self, batch: Batch, noised: Noised, noise_pred: Tensor, spec: LossSpec,
        row_weights: Float[Tensor, " b"] | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Noise loss, min-SNR weighted over timesteps and by ``spec`` over pixels, and the plain squared error.

        Rows whose timesteps were drawn from another distribution weigh ``row_weights`` in both; None: 1 each.
        """
        square = (noise_pred - noised.noise).square()
        weights = None
        if not spec.is_plain:
            seg = torch.from_numpy(batch.seg).to(self._device)
            found = torch.from_numpy(batch.found).to(self._device) if spec.finding else None
            weights = pixel_weights(seg, spec, noise_pred.shape[-1], found)
        rows = snr_weights(self.alphas_cumprod, noised.timesteps, floor=spec.snr_floor)
        if row_weights is not None:
            rows, square = rows * row_weights, square * row_weights[:, None, None, None]
        return {"loss": noise_loss(noise_pred, noised.noise, rows, weights), "mse": square.mean().detach()}
