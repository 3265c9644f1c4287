"""Scores of enlarged pictures against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dentgen.conditions.labels import RESTORATION, TOOTH
from dentgen.evaluation.upscaling_scores import Score, Truth, scores
from dentgen.models.judge_networks import Segmenter

EDGE = 64


class Oracle(Segmenter):
    """Reads the class off the red channel: 0, 100 or 200."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, images: Tensor) -> Tensor:
        levels = torch.round((images[:, 0] + 1) * 127.5 / 100)
        return torch.stack([(levels == value).float() for value in range(3)], 1)


def truth() -> Truth:
    """A sound and a restored tooth on gum, the restored one half as bright."""
    seg, fdi = np.ones((2, EDGE, EDGE), np.uint8), np.zeros((2, EDGE, EDGE), np.uint8)
    seg[:, 10:50, 5:30], fdi[:, 10:50, 5:30] = TOOTH, 11
    seg[:, 10:50, 34:60], fdi[:, 10:50, 34:60] = RESTORATION, 21
    tissue = np.where(seg == RESTORATION, TOOTH, seg).astype(np.uint8)
    photos = np.repeat((100 * tissue)[..., None], 3, -1)
    photos[seg == RESTORATION, 1:] = 60
    return Truth(photos, tissue, seg, fdi, np.full(seg.shape, 180, np.uint8))


def test_the_truth_is_perfect() -> None:
    found = scores(truth().photos, truth(), {"oracle": Oracle()})
    assert found["psnr"].count == 0, "infinite"
    for name in ("ssim", "gradient", "miou_oracle", "outline_f1_oracle", "restorations"):
        assert found[name].mean == pytest.approx(1), name
        assert found[name].count == 2, name


def test_errors_count_in_decibels() -> None:
    off = truth().photos + np.uint8(10)
    assert scores(off, truth(), {})["psnr"].mean == pytest.approx(20 * np.log10(255 / 10))


def test_blur_costs_gradient_and_a_sound_colour_hides_restorations() -> None:
    right, photos = truth(), truth().photos.copy()
    photos[right.seg == RESTORATION] = (200, 200, 200)
    assert scores(photos, right, {})["restorations"].mean == 0
    flat = np.full_like(photos, 128)
    assert scores(flat, right, {})["gradient"].mean == 0


def test_agreement_is_with_the_labels_not_with_the_truth() -> None:
    wrong = replace(truth(), tissue=np.ones_like(truth().tissue))
    assert scores(truth().photos, wrong, {"oracle": Oracle()})["miou_oracle"].mean < 0.5


def test_spread_is_over_pictures() -> None:
    found = Score.of([1.0, 3.0])
    assert (found.mean, found.count) == (2.0, 2)
    assert found.spread == pytest.approx(2**0.5)
    assert np.isnan(Score.of([1.0]).spread)
    assert Score.of([]).count == 0
