"""Whether contestants made the same pictures. A ratio of speeds of different work means nothing, so none is given then.

Refuses to know who made them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from dentgen.errors import EngineError

Pictures = Mapping[str, NDArray[np.uint8]]


def compare_pictures(ours: Pictures, theirs: Pictures, dtype: torch.dtype) -> dict[str, float]:
    """Differences in levels of 255.

    float32 networks must agree to one level. Otherwise diffusers keeps the latents themselves in half precision, which
    the engine does not, so there a picture must be much nearer to its twin than to its neighbour.

    Returns:
        ``largest`` and ``mean`` difference between twins, and ``mean_to_neighbour``: what another picture differs by.

    Raises:
        EngineError: If they are not the same pictures.
    """
    keys = list(theirs)
    twins = [_difference(ours[key], theirs[key]) for key in keys]
    neighbours = [_difference(ours[a], theirs[b]) for a, b in zip(keys, [*keys[1:], keys[0]], strict=True)]
    found = {
        "largest": float(np.max(twins)),
        "mean": float(np.mean(twins)),
        "mean_to_neighbour": float(np.mean(neighbours)),
    }
    same = found["largest"] <= 1 if dtype == torch.float32 else found["mean"] <= 0.1 * found["mean_to_neighbour"]
    if not same and not np.array_equal(twins, np.zeros_like(twins)):
        raise EngineError(f"the contestants made different pictures: {found}; their speeds cannot be compared")
    return found


def _difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.abs(one.astype(np.float64) - other)
