"""Random turns, zooms, colours and blur of training batches, the same for real and synthetic images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dentgen.conditions.labels import IGNORE, mirror_fdi

_LARGEST_TURN_DEG, _ZOOM = 29.0, (0.6, 1.5)
#: FDI numbers by those that they have in a mirror image; other values stay.
_OTHER_SIDE = torch.from_numpy(mirror_fdi(np.arange(256, dtype=np.uint8)[None, ::-1])[0].copy())


def augmented(images: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Change a batch.

    Args:
        images: (b, 3, H, W) in 0..1.
        labels: (b, maps, H, W) uint8, the last one FDI tooth numbers.
        rng: Source of all changes.

    Returns:
        Both, changed alike; what enters from outside is black and ``IGNORE``. Numbers of mirrored teeth change sides.
    """
    turns = _turns(len(images), rng)
    grid = F.affine_grid(turns, list(images.shape), align_corners=False)
    turned = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    shifted = F.grid_sample(labels.float() - IGNORE, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    moved = (shifted + IGNORE).round().to(torch.uint8)
    mirrored = torch.linalg.det(turns[:, :, :2]) < 0
    moved[mirrored, -1] = _OTHER_SIDE[moved[mirrored, -1].long()]
    return _coloured(turned, rng), moved


def _turns(count: int, rng: np.random.Generator) -> Tensor:
    """Affine matrices (count, 2, 3) of turns, zooms, shifts and left-right flips."""
    angle = np.deg2rad(rng.uniform(-_LARGEST_TURN_DEG, _LARGEST_TURN_DEG, count))
    zoom = np.exp(rng.uniform(np.log(_ZOOM[0]), np.log(_ZOOM[1]), count))
    flip = np.where(rng.random(count) < 0.5, -1.0, 1.0)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    shift = rng.uniform(-0.15, 0.15, (count, 2))
    rows = np.stack([np.stack([flip * cos, -sin, shift[:, 0]], -1), np.stack([flip * sin, cos, shift[:, 1]], -1)], 1)
    return torch.from_numpy(rows.astype(np.float32))


def _coloured(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Gain, gamma, white balance, contrast, saturation, blur and noise, drawn for every image."""
    count = len(images)

    def drawn(spread: float, *shape: int) -> Tensor:
        return torch.from_numpy(np.exp(rng.normal(0, spread, (count, *shape, 1, 1))).astype(np.float32))

    images = images.clamp(1e-4, 1) ** drawn(0.25, 1) * drawn(0.18, 1) * drawn(0.07, 3)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * drawn(0.18, 1) + mean
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * drawn(0.25, 1)
    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = torch.from_numpy(rng.uniform(-0.5, 1, (count, 1, 1, 1)).astype(np.float32))  # below 0 it sharpens
    images = images + share * (soft - images)
    noise = torch.from_numpy(rng.normal(0, 1, images.shape).astype(np.float32))
    strength = torch.from_numpy(abs(rng.normal(0, 0.02, (count, 1, 1, 1))).astype(np.float32))
    return (images + strength * noise).clamp(0, 1)
