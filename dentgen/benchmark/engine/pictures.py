"""Check that contestants generated the same images, because a ratio of speeds of different work means nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from dentgen.errors import EngineError

Pictures = Mapping[str, NDArray[np.uint8]]


def compare_pictures(ours: Pictures, theirs: Pictures, dtype: torch.dtype) -> dict[str, float]:
    """Compare (H, W, 3) uint8 images of the same keys, in levels of 255.

    In float32 twins must agree to one level. In half precision diffusers keeps the latents themselves in half
    precision, which the engine does not; there a twin must be much closer than another image.

    Returns:
        ``largest`` and ``mean`` difference between twins, and ``mean_to_neighbour``, the difference to another image.

    Raises:
        EngineError: If the images are not the same.
    """
    keys = list(theirs)
    twins = [_difference(ours[key], theirs[key]) for key in keys]
    neighbours = [_difference(ours[a], theirs[b]) for a, b in zip(keys, [*keys[1:], keys[0]], strict=True)]
    differences = {
        "largest": float(np.max(twins)),
        "mean": float(np.mean(twins)),
        "mean_to_neighbour": float(np.mean(neighbours)),
    }
    if np.any(twins) and not _same(differences, dtype):
        raise EngineError(
            "the contestants generated different images, so their speeds cannot be compared",
            found=", ".join(f"{name} difference {value:.3g}" for name, value in differences.items()),
            expected="at most 1 level" if dtype == torch.float32 else "a mean at most a tenth of that to a neighbour",
        )
    return differences


def _same(differences: Mapping[str, float], dtype: torch.dtype) -> bool:
    if dtype == torch.float32:
        return differences["largest"] <= 1
    return differences["mean"] <= 0.1 * differences["mean_to_neighbour"]


def _difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.abs(one.astype(np.float64) - other)
