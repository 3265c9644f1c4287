"""StreamMultiDiffusion's sampling in float64, written from the paper, one picture at a time and without a solver table.

Lee et al. 2024, https://arxiv.org/abs/2403.09055, section 3 and algorithm 1: LCM, quantised masks, white-background
bootstrap with centering and leak test, clean latents averaged before noise is added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from diffusers import LCMScheduler
from torch import Tensor

#: Predicts noise from latents (1, 4, h, w), a timestep and prompt embeddings (1, tokens, width).
Model = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Part:
    """A prompt and its mask (h, w)."""

    prompt: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Start:
    """How parts begin: white latents, steps, mixing, sensitivity of the leak test, stride of the centering."""

    white: Tensor
    steps: int = 0
    mix_steps: float = 1.0
    leak: float = 0.0
    stride: int = 0


def sampled(
    model: Model,
    scheduler: LCMScheduler,
    parts: Sequence[Part],
    background: Tensor,
    noises: Sequence[Tensor],
    start: Start,
    continuous: bool,
    switched: Mapping[int, tuple[Sequence[Part], Tensor]] | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Final latents and the average clean latents of every step, float64.

    Args:
        model: The model.
        scheduler: With its timesteps set.
        parts: Regions.
        background: Prompt of what no region covers.
        noises: Noise of the start, and noise that is injected after every step but the last.
        start: The bootstrap.
        continuous: Whether masks grow along ramps.
        switched: Other parts and another background from a step on.
    """  # fmt: skip
    timesteps = scheduler.timesteps.tolist()
    alphas = [scheduler.alphas_cumprod[t].double() for t in timesteps]
    levels = [float((1 - a).sqrt()) for a in alphas] + [0.0]
    z, averages = noises[0].double()[None], []
    for k in range(len(timesteps)):
        parts, background = (switched or {}).get(k, (parts, background))
        cover, total = torch.zeros_like(parts[0].mask, dtype=torch.float64), torch.zeros_like(z)
        for part in parts:
            share = _share(part.mask.double(), levels[k : k + 2], continuous)
            clean, share = _begun(model, scheduler, k, z, part, share, noises[0].double(), start)
            cover, total = cover + share, total + share * clean
        rest = (1 - cover).clamp(0, 1)
        average = (total + rest * _denoised(model, scheduler, k, z, background)) / (cover + rest)
        averages.append(average[0])
        if k + 1 < len(timesteps):
            z = alphas[k + 1].sqrt() * average + (1 - alphas[k + 1]).sqrt() * noises[k + 1].double()
    return averages[-1], averages


def _denoised(model: Model, scheduler: LCMScheduler, k: int, latents: Tensor, prompt: Tensor) -> Tensor:
    t = int(scheduler.timesteps[k])
    alpha = scheduler.alphas_cumprod[t].double()
    skip, out = scheduler.get_scalings_for_boundary_condition_discrete(t)
    noise = model(latents, torch.tensor([float(t)]), prompt[None].double())
    clean: Tensor = skip * latents + out * (latents - (1 - alpha).sqrt() * noise) / alpha.sqrt()
    return clean


def _share(mask: Tensor, levels: Sequence[float], continuous: bool) -> Tensor:
    if continuous:
        return ((mask - levels[1]) / (levels[0] - levels[1])).clamp(0, 1)
    return (mask > levels[0]).double()


def _begun(
    model: Model, scheduler: LCMScheduler, k: int, z: Tensor, part: Part, share: Tensor, noise: Tensor, start: Start
) -> tuple[Tensor, Tensor]:
    """Clean latents of a part, and its mask after the leak test."""
    if k >= start.steps:
        return _denoised(model, scheduler, k, z, part.prompt), share
    alpha = scheduler.alphas_cumprod[int(scheduler.timesteps[k])].double()
    mix = min(max(start.mix_steps - k, 0), 1)
    around = mix * (alpha.sqrt() * start.white.double() + (1 - alpha).sqrt() * noise) + (1 - mix) * z
    shift = _shift(share, start.stride)
    moved = (share * z + (1 - share) * around).roll(shift, (2, 3))
    clean = _denoised(model, scheduler, k, moved, part.prompt).roll((-shift[0], -shift[1]), (2, 3))
    if start.leak:
        distance = (clean - start.white.double()).square().mean(1)[0]
        share = share * (2 * torch.sigmoid(distance / start.leak) - 1)
    return clean, share


def _shift(share: Tensor, stride: int) -> tuple[int, int]:
    if not stride or not share.any():
        return 0, 0
    rows, columns = (share.amax(axis).nonzero().flatten().tolist() for axis in (1, 0))
    return tuple(
        stride * round((n // 2 - (places[0] + places[-1] + 1) // 2) / stride)
        for n, places in zip(share.shape, (rows, columns), strict=True)
    )
