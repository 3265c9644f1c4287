"""Planted faults are what their names say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dentgen.evaluation.planted_faults import FAULTS, Labelled, plant_faults
from tests.generation.finding_records import record

SIZE = 64


@pytest.fixture(scope="module")
def clean() -> list[Labelled]:
    rng = np.random.default_rng(1)
    return [
        Labelled(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8), replace(record(f"jaw-{i}"), group=f"mouth-{i // 2}"))
        for i in range(8)
    ]


def test_every_kind_is_planted_in_pictures_that_are_not_repeated(clean: list[Labelled]) -> None:
    planted = plant_faults(clean, 5)
    assert list(planted) == list(FAULTS) == ["swapped", "blurred", "shifted", "black", "collapsed", "duplicated"]
    for name, faulty in planted.items():
        assert len({one.record.key for one in faulty}) == 5 or name == "swapped", name
    assert [len(faulty) for faulty in plant_faults(clean, 50).values()] == [8] * 6


def test_faults_are_the_same_every_time_and_leave_the_clean_ones_alone(clean: list[Labelled]) -> None:
    before = [one.picture.copy() for one in clean]
    first, second = plant_faults(clean, 4, seed=3), plant_faults(clean, 4, seed=3)
    for name, faulty in first.items():
        for one, other in zip(faulty, second[name], strict=True):
            assert (one.picture == other.picture).all()
            assert one.record.key == other.record.key
    assert all((one.picture == kept).all() for one, kept in zip(clean, before, strict=True))


def test_swapped_labels_are_of_another_mouth(clean: list[Labelled]) -> None:
    groups = {one.picture.tobytes(): one.record.group for one in clean}
    assert all(one.record.group != groups[one.picture.tobytes()] for one in plant_faults(clean, 8)["swapped"])


def test_a_shift_moves_the_picture_by_three_pixels_of_a_hundred_and_twenty_eight(clean: list[Labelled]) -> None:
    for faulty in plant_faults(clean, 8)["shifted"]:
        original = next(one.picture for one in clean if one.record.key == faulty.record.key)
        fits = [
            (down, right)
            for down in range(-3, 4)
            for right in range(-3, 4)
            if (np.roll(original, (down, right), (0, 1))[8:-8, 8:-8] == faulty.picture[8:-8, 8:-8]).all()
        ]
        assert len(fits) == 1
        assert 1 <= np.hypot(*fits[0]) <= 2.3  # 1.5 pixels of 64, to a side or a corner, in whole pixels


def test_black_mean_blur_and_copy(clean: list[Labelled]) -> None:
    planted = plant_faults(clean, 8)
    assert all((one.picture == 0).all() for one in planted["black"])
    mean = np.mean([one.picture for one in clean], 0)
    assert all(np.abs(one.picture - mean).max() <= 0.5 for one in planted["collapsed"])
    for kind, least, most in (("duplicated", 0.1, 2.0), ("blurred", 20.0, 128.0)):
        for faulty in planted[kind]:
            original = next(one.picture for one in clean if one.record.key == faulty.record.key)
            assert least <= np.abs(faulty.picture.astype(float) - original).mean() <= most, kind
