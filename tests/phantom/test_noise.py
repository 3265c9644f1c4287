"""Lattice noise against its definition, point by point."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from dentgen.phantom.noise import LatticeNoise
from dentgen.seeding import numpy_generator

POINTS = numpy_generator("points").normal(0, 40, (50, 3))


def noise() -> LatticeNoise:
    return LatticeNoise(numpy_generator("noise"))


def test_values_are_the_smoothstep_mean_of_their_cell() -> None:
    """Written out point by point, with the lattice drawn again."""
    lattice = numpy_generator("noise").random(32**3).astype(np.float32).reshape(32, 32, 32)
    for point, value in zip(POINTS, noise()(POINTS, 0.7), strict=True):
        cell = np.floor(point * 0.7).astype(int)
        weight = point * 0.7 - cell
        weight = weight**2 * (3 - 2 * weight)
        mean = sum(
            lattice[tuple((cell + end) % 32)] * np.prod(np.where(end, weight, 1 - weight))
            for end in product((0, 1), repeat=3)
        )
        assert value == pytest.approx(2 * mean - 1, abs=1e-4)


def test_noise_repeats_after_32_cells() -> None:
    assert noise()(np.add(POINTS, [32, -64, 96]), 1.0) == pytest.approx(noise()(POINTS, 1.0), abs=1e-3)


def test_patches_cover_about_half_of_space_with_soft_rims() -> None:
    cover = noise().patches(numpy_generator("points").normal(0, 40, (4000, 3)), 0.3)
    assert cover.min() == 0
    assert cover.max() == 1
    assert 0.4 < cover.mean() < 0.6
    assert 0.1 < np.mean((cover > 0) & (cover < 1)) < 0.6


def test_octaves_halve_their_amplitude_and_double_their_frequency() -> None:
    texture = noise()
    expected = texture(POINTS, 0.3) + 0.5 * texture(POINTS + 17.3, 0.6) + 0.25 * texture(POINTS + 34.6, 1.2)
    assert texture.octaves(POINTS, 0.3, 3) == pytest.approx(expected)
