"""Scores by hand: IoU of teeth, single teeth that touch, lesions."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.conditions.labels import IGNORE
from dentgen.evaluation.photos.labelled_images import LabelledImages
from dentgen.evaluation.photos.scores import average_precision, score, separate_teeth


def truth() -> LabelledImages:
    instances = np.zeros((1, 32, 32), np.uint8)
    instances[0, 4:20, 2:12], instances[0, 4:20, 12:22] = 1, 2
    tooth = (instances > 0).astype(np.uint8)
    lesion = np.zeros_like(tooth)
    lesion[0, 6:10, 4:8] = 1
    tooth[0, 30:] = lesion[0, 30:] = IGNORE
    return LabelledImages(("k",), np.zeros((1, 32, 32, 3), np.uint8), tooth, instances, lesion, np.zeros_like(tooth))


def probabilities(labels: LabelledImages) -> np.ndarray:
    maps = np.stack([labels.tooth == 1, labels.borders() == 1, labels.lesion == 1], 1)
    return np.where(maps, 0.9, 0.1).astype(np.float32)


def test_the_truth_scores_one() -> None:
    labels = truth()
    assert score(probabilities(labels), labels).figures() == {
        "iou": 1.0, "iou_close_ups": 1.0, "instance_f1": 1.0, "instance_count_error": 0.0,
        "lesion_iou": 1.0, "lesion_ap": 1.0,
    }  # fmt: skip


def test_merged_teeth_lose_their_matches() -> None:
    labels = truth()
    found = probabilities(labels)
    found[0, 1] = 0.1
    figures = score(found, labels).figures()
    assert figures["iou"] == 1.0
    assert figures["instance_f1"] == 0.0, "one tooth of twice the size has an IoU of a half, which is no match"
    assert figures["instance_count_error"] == 1.0


def test_half_a_tooth_and_what_is_not_annotated() -> None:
    labels = truth()
    found = probabilities(labels)
    found[0, 0, 4:20, 12:22] = 0.1
    found[0, 0, 30:] = 0.9
    found[0, 2, 6:10, 8:12] = 0.9
    figures = score(found, labels).figures()
    assert figures["iou"] == pytest.approx(0.5)
    assert figures["instance_f1"] == pytest.approx(2 / 3)
    assert figures["lesion_iou"] == pytest.approx(0.5)


def test_specks_are_no_teeth() -> None:
    tooth = np.zeros((64, 64), np.float32)
    tooth[10:30, 10:30] = 1
    tooth[50, 50] = 1
    numbers = separate_teeth(tooth, np.zeros_like(tooth))
    assert numbers.max() == 1
    assert (numbers > 0).sum() == 400, "a speck is no part of a tooth far from it, either"
    assert (separate_teeth(np.zeros_like(tooth), np.zeros_like(tooth)) == 0).all()


@pytest.mark.parametrize("sure", [0.12, 0.5, 0.9])
def test_teeth_are_parted_however_faint_their_border_is(sure: float) -> None:
    labels = truth()
    border = np.where(labels.borders()[0] == 1, sure, 0.02).astype(np.float32)
    numbers = separate_teeth((labels.tooth[0] == 1).astype(np.float32), border)
    assert numbers.max() == 2
    for tooth in (1, 2):
        assert len(np.unique(numbers[labels.instances[0] == tooth])) == 1
    assert ((numbers > 0) == (labels.tooth[0] == 1)).all(), "the border belongs to the teeth"


def test_a_border_that_parts_less_than_a_tooth_parts_nothing() -> None:
    tooth, border = np.zeros((2, 128, 128), np.float32)
    tooth[20:60, 20:60] = 1
    border[20:60, 22] = 0.9  # beyond it are 80 pixels, and 10 in the second picture
    assert separate_teeth(tooth, border).max() == 2
    tooth[20:60, 20] = 0
    tooth[20:50, 21] = 0
    assert separate_teeth(tooth, border).max() == 1


def test_average_precision_by_its_definition() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.integers(0, 12, 300).astype(np.float32) / 12
    truth = rng.random(300) < 0.2
    precisions = [truth[probabilities >= own].mean() for own in probabilities[truth]]
    assert average_precision(probabilities, truth) == pytest.approx(np.mean(precisions))
    assert average_precision(truth.astype(np.float32), truth) == 1.0
    assert average_precision(probabilities, np.zeros(300, bool)) == 0.0
