"""Smooth lattice noise in space, for tissue textures. Refuses to know what it textures."""

from __future__ import annotations

import numpy as np

from dentgen.conditions.phantom.anatomy import FloatArray

_PERIOD = 32


class LatticeNoise:
    """Trilinear value noise with period 32 cells, values about -1..1."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw the lattice."""
        self._lattice = rng.random(_PERIOD**3).astype(np.float32)

    def __call__(self, points: FloatArray, frequency: float) -> FloatArray:
        """One octave at ``points`` (n, 3) mm; ``frequency`` in cells per mm."""
        scaled = points.astype(np.float32) * np.float32(frequency)
        cell = np.floor(scaled)
        weight = scaled - cell
        weight = weight * weight * (3 - 2 * weight)
        low = cell.astype(np.int64) % _PERIOD
        high = (low + 1) % _PERIOD
        result = np.zeros(len(points), np.float32)
        for corner in range(8):
            flat = np.zeros(len(points), np.int64)
            share = np.ones(len(points), np.float32)
            for axis in range(3):
                upper = corner >> axis & 1
                flat = flat * _PERIOD + (high if upper else low)[:, axis]
                share = share * (weight[:, axis] if upper else 1 - weight[:, axis])
            result += self._lattice[flat] * share
        return (result * 2 - 1).astype(np.float64)

    def octaves(self, points: FloatArray, frequency: float, count: int) -> FloatArray:
        """Sum of ``count`` octaves, each half as strong and twice as fine."""
        return sum((0.5**i * self(points + 17.3 * i, frequency * 2**i) for i in range(count)), np.zeros(len(points)))
