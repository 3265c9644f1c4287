"""Losses: what the recipes minimise. Tensors in, a scalar out; refuses to know models and data."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, distributed
from torch.nn import functional as F

from dentgen.conditions.labels import GINGIVA, TOOTH
from dentgen.spec.train import LossSpec

_BOUNDARY_PIXELS: Final = 2
#: Fine detail, in cycles a pixel: waves of eight to four pixels, and shorter ones.
_BANDS: Final = ((1 / 8, 1 / 4), (1 / 4, 1.0))
_LEAST_ENERGY: Final = 1e-7


def reconstruction_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """L1 on pixels and on their horizontal and vertical differences, which keeps boundaries sharp.

    Args:
        decoded: (b, 3, h, w) in [-1, 1].
        images: (b, 3, h, w) in [-1, 1].
    """
    loss = F.l1_loss(decoded, images)
    for axis in (-1, -2):
        loss = loss + F.l1_loss(decoded.diff(dim=axis), images.diff(dim=axis))
    return loss


def boundary_error(decoded: Tensor, images: Tensor, seg: UInt8[Tensor, "b H W"]) -> Tensor:
    """L1 within two pixels of the boundaries of teeth and gum, mean over all pixels: there decoders blur first.

    Args:
        decoded: (b, 3, H, W) in [-1, 1].
        images: (b, 3, H, W) in [-1, 1].
        seg: Class values in three classes.
    """
    bands = [boundary_band(seg == tissue, _BOUNDARY_PIXELS) for tissue in (TOOTH, GINGIVA)]
    return ((decoded - images).abs() * torch.stack(bands).amax(0)[:, None]).mean()


def region_error(decoded: Tensor, images: Tensor, seg: UInt8[Tensor, "b H W"], spec: LossSpec) -> Tensor:
    """L1 of pixels, each weighing what its class weighs in a diffusion loss (``pixel_weights``), mean over all.

    Args:
        decoded: (b, 3, H, W) in [-1, 1].
        images: (b, 3, H, W) in [-1, 1].
        seg: Class values in three classes.
        spec: The weights.
    """
    weights = pixel_weights(seg.to(images.device), spec, images.shape[-1])
    return ((decoded - images).abs() * weights).mean()


def texture_error(decoded: Tensor, images: Tensor) -> Tensor:
    """How far a picture's energies of fine detail are from the wanted one's, mean of all |log ratios|.

    Squared and absolute errors are least for a picture smoother than what is uncertain; this one is 0 if as much is
    there as should be, wherever it is. Each colour's levels count and linear luminance, each in two bands: one energy
    alone can be had cheaply, as brighter highlights are.

    Args:
        decoded: (b, 3, H, W) in [-1, 1].
        images: (b, 3, H, W) in [-1, 1].
    """
    found, wanted = (_fine_energies(pictures.float()).add(_LEAST_ENERGY).log() for pictures in (decoded, images))
    return (found - wanted).abs().mean()


def _fine_energies(pictures: Tensor) -> Float[Tensor, "b 4 bands"]:
    """Mean squares of red, green, blue and linear luminance in each of ``_BANDS``."""
    levels = ((pictures + 1) / 2).clamp(0, 1)
    values = torch.cat([levels, _linear_luminance(levels)], 1)
    for axis in (-1, -2):
        values = torch.cat([values, values.flip(axis)], axis)  # a border that goes on is no edge
    power = torch.fft.fft2(values, norm="forward").abs().square()
    down, across = (torch.fft.fftfreq(size, device=values.device) for size in values.shape[-2:])
    frequency = torch.hypot(down[:, None], across)
    return torch.stack([(power * ((low < frequency) & (frequency <= high))).sum((2, 3)) for low, high in _BANDS], -1)


def _linear_luminance(levels: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 1 H W"]:
    linear = torch.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return (linear * linear.new_tensor([0.2126, 0.7152, 0.0722])[:, None, None]).sum(1, keepdim=True)


def kl_loss(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL divergence from the unit normal, mean over all elements."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


def snr_weights(alphas_cumprod: Tensor, timesteps: Tensor, gamma: float = 5.0, floor: float = 0.0) -> Tensor:
    """Min-SNR weights of the noise loss (Hang et al. 2023, eq. 8, https://arxiv.org/abs/2303.09556): (b,).

    A squared error of noise is one of the picture times SNR; weighted, the picture's error counts by the SNR between
    ``floor`` and ``gamma``. Without a floor next to nothing is asked of the first step of a sampler, where the SNR of
    Stable Diffusion's schedule is .005 and layout and light are decided.
    """
    abar = alphas_cumprod[timesteps]
    snr = abar / (1 - abar)
    return snr.clamp(floor, gamma) / snr


def pixel_weights(seg: UInt8[Tensor, "b H W"], spec: LossSpec, latent_size: int) -> Float[Tensor, "b 1 h w"]:
    """Weights of the diffusion loss from class maps.

    Sum over classes c of weight_c x share of c in a latent's pixels, plus ``boundary`` x share of the band around
    tooth boundaries. Area reduction keeps the mass of gaps narrower than a latent, which nearest neighbour loses.

    Args:
        seg: Class values in three classes; ``IGNORE`` weighs as background.
        spec: The weights.
        latent_size: Edge of the latents.

    Returns:
        Weights; of mean 1 per sample or over the batch (of all workers, if there are several), as the spec says.
    """
    weights = torch.full_like(seg, spec.background, dtype=torch.float32)
    weights[seg == GINGIVA] = spec.gingiva
    weights[seg == TOOTH] = spec.tooth
    if spec.boundary:
        weights = weights + spec.boundary * boundary_band(seg == TOOTH, spec.boundary_pixels)
    weights = _reduced(weights[:, None], latent_size, spec.reduce).clamp_min(spec.floor)
    return _normalised(weights, spec.normalise)


def boundary_band(inside: Bool[Tensor, "b H W"], pixels: int) -> Float[Tensor, "b H W"]:
    """1 within ``pixels`` of the boundary of a region (square neighbourhoods), 0 elsewhere."""
    values, edge = inside.float()[:, None], 2 * pixels + 1
    largest = F.max_pool2d(values, edge, stride=1, padding=pixels)
    smallest = -F.max_pool2d(-values, edge, stride=1, padding=pixels)
    return (largest - smallest)[:, 0]


def _reduced(weights: Tensor, size: int, way: str) -> Tensor:
    if way == "area":
        return F.interpolate(weights, size=(size, size), mode="area")
    return F.interpolate(weights, size=(size, size), mode="bilinear", align_corners=False)


def _normalised(weights: Tensor, way: str) -> Tensor:
    """Divide by the mean; where nothing weighs anything it all stays 0."""
    if way == "none":
        return weights
    mean = weights.mean(dim=(1, 2, 3), keepdim=True) if way == "sample" else _mean_of_workers(weights.mean())
    return weights / torch.where(mean > 0, mean, torch.ones_like(mean))


def _mean_of_workers(value: Tensor) -> Tensor:
    """Over all that train together; a worker that validates alone must not wait for the others."""
    if not (torch.is_grad_enabled() and distributed.is_available() and distributed.is_initialized()):
        return value
    total = value.clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()


def noise_loss(noise_pred: Tensor, noise: Tensor, row_weights: Tensor, weights: Tensor | None = None) -> Tensor:
    """Weighted squared error of the predicted noise.

    Args:
        noise_pred: (b, 4, h, w).
        noise: (b, 4, h, w).
        row_weights: (b,) weight of each row.
        weights: (b, 1, h, w) spatial weights, or None for 1 everywhere.
    """
    square = (noise_pred - noise).square()
    if weights is not None:
        square = square * weights
    return (square.mean(dim=(1, 2, 3)) * row_weights).mean()


def consistency_loss(answer: Tensor, target: Tensor, c: float = 1e-3) -> Tensor:
    """Pseudo-Huber distance sqrt(d^2 + c^2) - c, mean over all elements (Song and Dhariwal 2023, eq. 11)."""
    return ((answer - target).square() + c * c).sqrt().sub(c).mean()
