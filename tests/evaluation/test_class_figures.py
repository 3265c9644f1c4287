"""Figures class by class, on pictures whose colours are their classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dentgen.conditions.labels import APPLIANCE, DAM, IGNORE, RESTORATION, TOOTH, colour_segmentation, tissue_classes
from dentgen.evaluation.class_figures import class_figures
from dentgen.evaluation.judge_settings import JudgeSettings
from dentgen.evaluation.reference_set import ReferenceSet

EDGE = 16


def coloured(seed: int, count: int) -> ReferenceSet:
    """Four bands in every picture, each of background, tooth, restoration or appliance at random."""
    rng = np.random.default_rng(seed)
    bands = rng.choice([0, TOOTH, RESTORATION, APPLIANCE], size=(count, 4))
    classes = np.repeat(np.repeat(bands[:, :, None], EDGE // 4, 1), EDGE, 2).astype(np.uint8)
    names, seg = [str(n) for n in range(count)], tissue_classes(classes)
    return ReferenceSet("", names, names, names, colour_segmentation(classes), seg, seg, seg, classes)


def test_a_class_that_is_not_drawn_is_missed_and_the_others_are_not(tmp_path: Path) -> None:
    training, test = coloured(0, 32), coloured(1, 8)
    wrong = test.classes.copy()
    wrong[wrong == RESTORATION] = TOOTH
    generated = np.stack([colour_segmentation(wrong)] * 2, 1)
    figures = class_figures(str(tmp_path), JudgeSettings(unet_steps=160), training, test, generated)
    assert figures.keys() == {
        *(f"iou_{name}_{kind}" for name in ("background", "tooth", "restoration", "appliance")
          for kind in ("generated", "reference")),
        "class_miou_generated", "class_miou_reference", "class_miou_ratio",
    }  # fmt: skip
    assert figures["iou_restoration_reference"] > 0.8
    assert figures["iou_restoration_generated"] < 0.1
    assert figures["iou_appliance_generated"] == pytest.approx(figures["iou_appliance_reference"], abs=0.1)
    assert figures["class_miou_ratio"] == figures["class_miou_generated"] / figures["class_miou_reference"] < 0.85


def test_classes_that_the_judge_does_not_know_are_ignored(tmp_path: Path) -> None:
    training, test = coloured(0, 8), coloured(1, 4)
    found = []
    for name, value in (("dam", DAM), ("ignore", IGNORE)):
        training.classes[:, :8] = test.classes[:, :8] = value
        figures = class_figures(str(tmp_path / name), JudgeSettings(unet_steps=2), training, test, test.photos[:, None])
        found.append(figures)
    assert found[0] == found[1]
