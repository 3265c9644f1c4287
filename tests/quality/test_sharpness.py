"""Sharpness and SSIM against direct sums and Parseval's theorem."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dentgen.quality.metrics import luminance
from dentgen.quality.sharpness import high_frequency_energy, structural_similarity
from dentgen.seeding import numpy_generator


def noise(count: int = 2) -> NDArray[np.uint8]:
    return numpy_generator("noise").integers(0, 256, (count, 32, 40, 3)).astype(np.uint8)


def test_ssim_matches_its_definition() -> None:
    """Window by window."""
    x, y = noise()
    grey = np.array([0.299, 0.587, 0.114])
    a, b = x @ grey, y @ grey
    reach = np.arange(-5, 6)
    line = np.exp(-(reach**2) / (2 * 1.5**2))
    weights = np.outer(line, line) / np.outer(line, line).sum()
    values = []
    for i in range(5, 27):
        for j in range(5, 35):
            p, q = (v[i - 5 : i + 6, j - 5 : j + 6] for v in (a, b))
            mp, mq = (weights * p).sum(), (weights * q).sum()
            vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
            c = (weights * (p - mp) * (q - mq)).sum()
            c1, c2 = 2.55**2, 7.65**2
            values.append((2 * mp * mq + c1) * (2 * c + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    assert float(structural_similarity(x[None], y[None])[0]) == pytest.approx(np.mean(values), rel=1e-9)


def test_ssim_of_equal_and_unrelated_images() -> None:
    pictures = noise(3)
    assert structural_similarity(pictures, pictures) == pytest.approx([1, 1, 1])
    assert structural_similarity(pictures, np.roll(pictures, 1, 0)).max() < 0.2


def test_only_short_wavelengths_are_high_frequency() -> None:
    x = np.arange(64)
    for wavelength, is_high in ((32, False), (8, False), (2.5, True), (3, True)):
        wave = 127 + 60 * np.sin(2 * np.pi * x / wavelength)
        picture = np.broadcast_to(wave[None, :, None], (1, 64, 64, 3)).round().astype(np.uint8)
        share = float(high_frequency_energy(picture)[0]) / total_energy(picture)
        assert 0.9 < share <= 1 if is_high else share < 0.05
    flat = np.full((1, 64, 64, 3), 90, np.uint8)
    assert float(high_frequency_energy(flat)[0]) < 1e-30


def total_energy(picture: NDArray[np.uint8]) -> float:
    """Mean square of the windowed luminance, which by Parseval's theorem is the energy of all frequencies."""
    values = luminance(picture)[0]
    window = np.outer(np.hanning(64), np.hanning(64))
    return float((((values - values.mean()) * window) ** 2).mean())
