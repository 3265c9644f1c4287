"""Smooth three-dimensional value noise for tissue textures."""

from __future__ import annotations

from itertools import product

import numpy as np

from dentgen.phantom.anatomy import FloatArray

_PERIOD = 32


class LatticeNoise:
    """Value noise on a periodic lattice of 32 cells a side, smoothstep-interpolated, values in -1..1."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw the lattice from ``rng``."""
        lattice = rng.random(_PERIOD**3).astype(np.float32).reshape((_PERIOD,) * 3)
        corners = [np.roll(lattice, (-x, -y, -z), (0, 1, 2)) for z, y, x in product((0, 1), repeat=3)]
        self._corners = np.stack(corners, -1).reshape(-1, 8)  # by cell: one look-up finds all eight

    def __call__(self, points: FloatArray, frequency: float) -> FloatArray:
        """One octave (n,) at ``points`` (n, 3) mm; ``frequency`` in cells per mm."""
        scaled = points.astype(np.float32).T * np.float32(frequency)
        cell = np.floor(scaled)
        weight = scaled - cell
        weight = weight * weight * (3 - 2 * weight)
        x, y, z = cell.astype(np.int64) % _PERIOD
        corners = self._corners.take((x * _PERIOD + y) * _PERIOD + z, axis=0).T
        share_x, share_y, share_z = zip(1 - weight, weight, strict=True)
        result = np.zeros(len(points), np.float32)
        for corner, (z_end, y_end, x_end) in zip(corners, product((0, 1), repeat=3), strict=True):
            result += corner * (share_x[x_end] * share_y[y_end] * share_z[z_end])
        return (result * 2 - 1).astype(np.float64)

    def patches(self, points: FloatArray, frequency: float) -> FloatArray:
        """Cover (n,), 0..1, of patches with soft rims that take about half of the space."""
        return np.clip(0.5 + 5 * self(points + 97.0, frequency), 0, 1)

    def octaves(self, points: FloatArray, frequency: float, count: int) -> FloatArray:
        """Sum (n,) of ``count`` octaves, each with half the amplitude and twice the frequency of the one before."""
        return sum((0.5**i * self(points + 17.3 * i, frequency * 2**i) for i in range(count)), np.zeros(len(points)))
