"""Metrics against definitions worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.conditions.phantom.material import lab_to_linear
from dentgen.pipeline.fidelity import colour_fill
from dentgen.quality.judge import Segmenter, judge_labels, train_judge
from dentgen.quality.metrics import confusion, mean_iou, rgb_to_lab, set_miou, variant_spread


def test_mean_iou_by_hand() -> None:
    truth = np.array([[0, 0, 1, 1, 255]], np.uint8)
    predicted = np.array([[0, 1, 1, 1, 0]], np.uint8)
    assert confusion(predicted, truth, 3).tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert mean_iou(confusion(predicted, truth, 3)) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert set_miou(truth[:, :4], truth[:, :4]) == 1


def test_lab_inverts_the_renderers_own_conversion() -> None:
    for lab in ((76.0, -0.1, 16.7), (51, 27.7, 18.3), (40, 22, 16)):
        linear = lab_to_linear(*lab)
        srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        assert np.abs(rgb_to_lab((255 * srgb).round().astype(np.uint8)) - lab).max() < 1


def test_spread_of_equal_variants_is_zero() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3)).astype(np.uint8)
    assert variant_spread(np.repeat(image, 3, 0)) == 0
    assert variant_spread(np.concatenate([image, 255 - image])) > 0


def test_a_judge_learns_what_is_there() -> None:
    """On flat colours the segmenter must become almost perfect; untrained it is not."""
    rng = np.random.default_rng(0)
    seg = np.kron(rng.integers(0, 3, (24, 4, 4)), np.ones((8, 8))).astype(np.uint8)
    images = np.clip(colour_fill(seg, np.full(seg.shape, 200, np.uint8)) + rng.normal(0, 8, (*seg.shape, 3)), 0, 255)
    judge = train_judge(Segmenter, images[:16].astype(np.uint8), seg[:16], steps=60, seed=0, name="test", batch=8)
    assert set_miou(judge_labels(judge, images[16:].astype(np.uint8)), seg[16:]) > 0.9
    assert set_miou(judge_labels(Segmenter().eval(), images[16:].astype(np.uint8)), seg[16:]) < 0.6
