"""Metrics against numpy, published values, and definitions worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.material import lab_to_linear
from dentgen.quality.metrics import (
    class_ious,
    confusion,
    light_correlation,
    luminance,
    mean_iou,
    mistaken_share,
    rgb_to_lab,
    set_miou,
    variant_spread,
)


def test_mean_iou_by_hand() -> None:
    truth = np.array([[0, 0, 1, 1, 255]], np.uint8)
    predicted = np.array([[0, 1, 1, 1, 0]], np.uint8)
    assert confusion(predicted, truth, 3).tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert mean_iou(confusion(predicted, truth, 3)) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert set_miou(truth[:, :4], truth[:, :4]) == 1


def test_iou_of_an_absent_class_is_nan() -> None:
    matrix = confusion(np.array([[0, 0, 1]], np.uint8), np.array([[0, 1, 1]], np.uint8), 3)
    assert class_ious(matrix)[:2].tolist() == [0.5, 0.5]
    assert np.isnan(class_ious(matrix)[2])


def test_mistaken_share_by_hand() -> None:
    truth, predicted = np.array([[2, 2, 2, 2, 1, 1, 255]], np.uint8), np.array([[2, 1, 0, 2, 2, 1, 1]], np.uint8)
    matrix = confusion(predicted, truth, 3)
    assert mistaken_share(matrix, 2, 1) == 1 / 4
    assert mistaken_share(matrix, 1, 2) == 1 / 2
    assert mistaken_share(confusion(truth, truth, 3), 2, 1) == 0
    assert np.isnan(mistaken_share(matrix, 0, 1))


def test_luminance_is_y_of_lab() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (50, 3)).astype(np.uint8)
    lightness = rgb_to_lab(pixels)[:, 0]
    y = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness * (3 / 29) ** 3)
    assert luminance(pixels) == pytest.approx(y, abs=1e-6)


def test_light_correlation_matches_numpy() -> None:
    rng = np.random.default_rng(2)
    pictures = rng.integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    light, inside = rng.integers(0, 256, (3, 8, 8)).astype(np.uint8), rng.random((3, 8, 8)) < 0.5
    inside[2] = False
    correlation = light_correlation(pictures, light, inside)
    for n in (0, 1):
        expected = np.corrcoef(luminance(pictures[n])[inside[n]], light[n][inside[n]])[0, 1]
        assert correlation[n] == pytest.approx(expected)
    assert np.isnan(correlation[2]), "no pixels"
    assert np.isnan(light_correlation(pictures, np.full_like(light, 9), inside | True)).all(), "constant lighting"


#: L*a*b* of sRGB colours under D65, to two decimals, as colour tables publish them.
LAB = {
    (255, 255, 255): (100, 0, 0),
    (0, 0, 0): (0, 0, 0),
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.73, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
    (255, 255, 0): (97.14, -21.55, 94.48),
    (128, 128, 128): (53.59, 0, 0),
}


@pytest.mark.parametrize("colour", LAB)
def test_lab_matches_published_values(colour: tuple[int, int, int]) -> None:
    assert rgb_to_lab(np.array(colour, np.uint8)) == pytest.approx(LAB[colour], abs=0.05)


def test_lab_inverts_the_conversion_of_the_renderer() -> None:
    for lab in ((76.0, -0.1, 16.7), (51, 27.7, 18.3), (40, 22, 16)):
        linear = lab_to_linear(*lab)
        srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        assert np.abs(rgb_to_lab((255 * srgb).round().astype(np.uint8)) - lab).max() < 1


def test_spread_of_variants_by_hand() -> None:
    """Two values differ from their mean by half of their distance; differences between pixels do not count."""
    image = np.random.default_rng(0).integers(0, 200, (1, 4, 4, 3)).astype(np.uint8)
    assert variant_spread(np.repeat(image, 3, 0)) == 0
    assert variant_spread(np.concatenate([image, image + 50])) == pytest.approx(25)
