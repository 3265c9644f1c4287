"""The transfer function of sRGB (IEC 61966-2-1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def to_linear(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light of sRGB levels, both in 0..1, of any shape."""
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of ``to_linear``; light below 0 stays linear."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
