"""Kernel distance over halves: chance level for reference pictures, large for others, unknown for too few."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest

from dentgen.evaluation.judges import judge_features
from dentgen.evaluation.mouth_distance import mouth_distance
from dentgen.evaluation.reference_set import ReferenceSet
from dentgen.models.judges import load_judges
from dentgen.quality.kernel_distance import kernel_distance


def picked(jaws: ReferenceSet, count: int) -> ReferenceSet:
    """The first records, each as a mouth of its own."""
    few = slice(count)
    return ReferenceSet(
        jaws.source, jaws.keys[few], jaws.keys[few], jaws.prompts[few],
        jaws.photos[few], jaws.seg[few], jaws.fdi[few], jaws.light[few], jaws.classes[few],
    )  # fmt: skip


@pytest.mark.slow
def test_inverted_pictures_are_farther_away_than_reference_pictures(jaws: ReferenceSet) -> None:
    judge, test = load_judges("embedded").networks["unet"], picked(jaws, 10)
    near, spread = mouth_distance(judge, test, test.photos)
    features = judge_features(judge, test.photos)
    halves = [test.halves(split) for split in range(50)]
    assert near == pytest.approx(np.mean([kernel_distance(features[a], features[b], features) for a, b in halves]))
    far, _ = mouth_distance(judge, test, 255 - test.photos)
    assert spread > 0
    assert far > near + 5 * spread


@pytest.mark.slow
def test_a_half_of_one_record_has_no_distance(jaws: ReferenceSet) -> None:
    judge, test = load_judges("embedded").networks["unet"], picked(jaws, 3)
    with np.errstate(all="raise"):  # nothing is divided by nothing on the way
        assert all(map(isnan, mouth_distance(judge, test, np.zeros_like(test.photos))))
