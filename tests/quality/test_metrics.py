"""Metrics against definitions worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dentgen.evaluation.fidelity import colour_fill
from dentgen.evaluation.judges import DilatedSegmenter, Segmenter, judge_features, judge_labels, train_judge
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


def test_a_class_that_is_nowhere_has_no_iou() -> None:
    matrix = confusion(np.array([[0, 0, 1]], np.uint8), np.array([[0, 1, 1]], np.uint8), 3)
    assert class_ious(matrix)[:2].tolist() == [0.5, 0.5]
    assert np.isnan(class_ious(matrix)[2])


def test_mistaken_shares_by_hand() -> None:
    truth, predicted = np.array([[2, 2, 2, 2, 1, 1, 255]], np.uint8), np.array([[2, 1, 0, 2, 2, 1, 1]], np.uint8)
    matrix = confusion(predicted, truth, 3)
    assert mistaken_share(matrix, 2, 1) == 1 / 4
    assert mistaken_share(matrix, 1, 2) == 1 / 2
    assert mistaken_share(confusion(truth, truth, 3), 2, 1) == 0
    assert np.isnan(mistaken_share(matrix, 0, 1))


def test_luminance_is_the_y_of_lab() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (50, 3)).astype(np.uint8)
    lightness = rgb_to_lab(pixels)[:, 0]
    y = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness * (3 / 29) ** 3)
    assert luminance(pixels) == pytest.approx(y, abs=1e-6)


def test_light_correlation_is_numpys() -> None:
    rng = np.random.default_rng(2)
    pictures = rng.integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    light, inside = rng.integers(0, 256, (3, 8, 8)).astype(np.uint8), rng.random((3, 8, 8)) < 0.5
    inside[2] = False
    found = light_correlation(pictures, light, inside)
    for n in (0, 1):
        assert found[n] == pytest.approx(np.corrcoef(luminance(pictures[n])[inside[n]], light[n][inside[n]])[0, 1])
    assert np.isnan(found[2]), "no pixels, no figure"
    assert np.isnan(light_correlation(pictures, np.full_like(light, 9), inside | True)).all(), "constant light"


def test_lab_inverts_the_renderers_own_conversion() -> None:
    for lab in ((76.0, -0.1, 16.7), (51, 27.7, 18.3), (40, 22, 16)):
        linear = lab_to_linear(*lab)
        srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        assert np.abs(rgb_to_lab((255 * srgb).round().astype(np.uint8)) - lab).max() < 1


def test_spread_of_equal_variants_is_zero() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3)).astype(np.uint8)
    assert variant_spread(np.repeat(image, 3, 0)) == 0
    assert variant_spread(np.concatenate([image, 255 - image])) > 0


@pytest.mark.parametrize(("kind", "steps"), [(Segmenter, 60), (DilatedSegmenter, 100)])
def test_a_judge_learns_what_is_there(kind: Callable[[], Segmenter | DilatedSegmenter], steps: int) -> None:
    """On flat colours a segmenter must become almost perfect; untrained it is not."""
    rng = np.random.default_rng(0)
    seg = np.kron(rng.integers(0, 3, (24, 4, 4)), np.ones((8, 8))).astype(np.uint8)
    noisy = np.clip(colour_fill(seg, np.full(seg.shape, 200, np.uint8)) + rng.normal(0, 8, (*seg.shape, 3)), 0, 255)
    images = noisy.astype(np.uint8)
    judge = train_judge(kind, images[:16], seg[:16], steps=steps, seed=0, name="test", batch=8)
    assert set_miou(judge_labels(judge, images[16:]), seg[16:]) > 0.9
    assert set_miou(judge_labels(kind().eval(), images[16:]), seg[16:]) < 0.6
    features = judge_features(judge, images)
    assert features.shape[0] == 24
    assert np.ptp(features, 0).min() >= 0
    assert judge_features(judge, images[[3]]) == pytest.approx(features[[3]], abs=1e-4), "of each picture alone"
