"""Losses: what the recipes minimise. Tensors in, a scalar out; refuses to know models and data."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F


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


def kl_loss(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL divergence from the unit normal, mean over all elements."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


def snr_weights(alphas_cumprod: Tensor, timesteps: Tensor, gamma: float = 5.0) -> Tensor:
    """Min-SNR weights of the noise loss (Hang et al. 2023, eq. 8, https://arxiv.org/abs/2303.09556): (b,)."""
    abar = alphas_cumprod[timesteps]
    snr = abar / (1 - abar)
    return torch.minimum(snr, torch.full_like(snr, gamma)) / snr


def tooth_weights(
    seg: Tensor, tooth_class: int, weight: float, latent_size: int, normalise: Literal["none", "sample"] = "sample"
) -> Tensor:
    """Per-latent loss weights from a class map.

    Area reduction keeps the mass of gaps narrower than a latent cell, which nearest neighbour loses.

    Args:
        seg: (b, H, W) class values.
        tooth_class: Value that is weighted.
        weight: Weight of teeth; everything else has 1.
        latent_size: Edge of the latents.
        normalise: ``sample`` divides by each sample's mean, so that the loss keeps its scale.

    Returns:
        (b, 1, latent_size, latent_size).
    """
    teeth = (seg == tooth_class).float()[:, None]
    weights = 1 + (weight - 1) * F.interpolate(teeth, size=(latent_size, latent_size), mode="area")
    if normalise == "sample":
        weights = weights / weights.mean(dim=(1, 2, 3), keepdim=True)
    return weights


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
