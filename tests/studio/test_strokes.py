"""Strokes in the maps: coverage against distances, classes and tooth numbers that stay consistent."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dentgen.errors import SpecError
from dentgen.records import ConditionName
from dentgen.studio.strokes import PLAIN_LIGHT, Stroke, covered, paint, tooth_mask
from tests.studio.documents import SHAPE, small_record, small_work

places = st.tuples(st.floats(-10, 60), st.floats(-10, 50))


def stroke(kind: str, value: int = 0, points: Any = ((14.0, 12.0),), radius: float = 3.0, **fields: Any) -> Stroke:
    return Stroke.model_validate(
        {"gesture": "g", "points": points, "radius": radius, "brush": {"kind": kind, "value": value}, **fields}
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(places, min_size=1, max_size=5), st.floats(0.75, 12))
def test_a_stroke_covers_what_is_near_it(points: list[tuple[float, float]], radius: float) -> None:
    """Oracle: distance to a thousand points along the line, within their spacing."""
    mask = covered(points, radius, SHAPE)
    line = np.array(points, float)
    steps = np.linspace(0, 1, 400)[:, None]
    parts = [a + steps * (b - a) for a, b in itertools.pairwise(line)] or [line]
    dense = np.concatenate(parts)
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]] + 0.5
    distance = np.hypot(x[..., None] - dense[:, 0], y[..., None] - dense[:, 1]).min(-1)
    spacing = max((np.hypot(*(b - a)) / 399 for a, b in itertools.pairwise(line)), default=0.0)
    assert mask[distance <= radius].all()
    assert not mask[distance > radius + spacing].any()


def test_a_restoration_keeps_the_number_of_its_tooth_and_gum_clears_it() -> None:
    work = small_work()
    paint(work, stroke("class", 4))
    assert (work.planes["segmentation"][12, 14], work.planes["fdi"][12, 14]) == (4, 11)
    paint(work, stroke("class", 1))
    assert (work.planes["segmentation"][12, 14], work.planes["fdi"][12, 14]) == (1, 0)
    assert work.planes["fdi"][5, 9] == 11, "elsewhere it stays"


def test_a_tooth_number_paints_the_tooth_as_well() -> None:
    work = small_work()
    paint(work, stroke("tooth", 36, [(24, 28)]))
    assert (work.planes["segmentation"][28, 24], work.planes["fdi"][28, 24]) == (2, 36)
    assert work.planes["lighting"][28, 24] == PLAIN_LIGHT, "what had no surface is lit"


def test_both_sides_get_the_opposite_tooth() -> None:
    work = small_work()
    paint(work, stroke("tooth", 16, [(4, 28)], symmetric=True))
    assert (work.planes["fdi"][28, 4], work.planes["fdi"][28, 43]) == (16, 26)
    assert np.array_equal(work.planes["segmentation"], work.planes["segmentation"][:, ::-1])


@pytest.mark.parametrize("within", [11, (14.0, 12.0)])
def test_a_chosen_tooth_bounds_the_stroke(within: Any) -> None:
    work = small_work()
    paint(work, stroke("class", 4, [(0, 12), (47, 12)], radius=40, within=within))
    assert np.array_equal(work.planes["segmentation"] == 4, small_record().fdi == 11)


def test_a_tooth_stays_chosen_when_its_number_is_painted_away() -> None:
    work = small_work()
    paint(work, stroke("class", 1, [(14, 12)], radius=20, within=11))
    assert not (work.planes["fdi"] == 11).any()
    paint(work, stroke("class", 4, [(14, 12)], radius=20, within=11))
    assert ((work.planes["segmentation"] == 4) == (small_record().fdi == 11)).all()


def test_a_tooth_without_number_is_its_connected_part() -> None:
    work = small_work(fdi=None)
    mask = tooth_mask(work, (14.0, 12.0))
    assert mask.sum() == 12 * 16
    assert not mask[:, 24:].any()


def test_erasing_brings_the_record_back() -> None:
    work = small_work()
    paint(work, stroke("tooth", 36, [(24, 28)], radius=9))
    paint(work, stroke("class", 3, [(14, 12)], radius=9))
    paint(work, stroke("erase", 0, [(0, 0), (47, 31), (0, 31), (47, 0)], radius=40))
    record = small_record()
    names: list[ConditionName] = ["segmentation", "lighting"]
    for name in names:
        assert np.array_equal(work.planes[name], record.conditions[name]), name
    assert record.fdi is not None
    assert np.array_equal(work.planes["fdi"], record.fdi)


def test_layers_are_painted_and_unpainted() -> None:
    work = small_work()
    layer = work.add_layer("", "")
    paint(work, stroke("layer", layer.number, radius=5))
    assert work.planes[layer.plane][12, 14] == 1
    assert np.array_equal(work.planes["segmentation"], small_record().conditions["segmentation"])
    paint(work, stroke("unlayer", layer.number, radius=9))
    assert not work.planes[layer.plane].any()


def test_a_finding_that_replaces_tooth_is_a_restoration() -> None:
    conditions = {**small_record().conditions, "findings": np.zeros(SHAPE, np.uint8)}
    work = small_work(conditions=conditions)
    paint(work, stroke("finding", 9))
    assert (work.planes["findings"][12, 14], work.planes["segmentation"][12, 14]) == (9, 4)
    paint(work, stroke("finding", 2))
    assert (work.planes["findings"][12, 14], work.planes["segmentation"][12, 14]) == (2, 4)
    paint(work, stroke("class", 2))
    assert work.planes["findings"][12, 14] == 0


def test_strokes_of_one_gesture_are_undone_together() -> None:
    work = small_work()
    for x in (10.0, 14.0, 18.0):
        paint(work, stroke("class", 4, [(x, 12)]))
    work.undo()
    assert np.array_equal(work.planes["segmentation"], small_record().conditions["segmentation"])


@pytest.mark.parametrize(
    ("wrong", "key", "found"),
    [
        (stroke("class", 77), "brush", 77),
        (stroke("tooth", 99), "brush", 99),
        (stroke("finding", 9), "brush", "a finding"),
        (stroke("layer", 5), "layer", 5),
        (stroke("class", 4, within=48), "within", "no tooth 48"),
        (stroke("class", 4, within=(2.0, 2.0)), "within", "no tooth at 2, 2"),
        (stroke("class", 4, within=(-5.0, 2.0)), "within", "the point -5, 2"),
    ],
)
def test_what_cannot_be_painted_is_named(wrong: Stroke, key: str, found: object) -> None:
    work = small_work()
    version = work.version
    with pytest.raises(SpecError) as caught:
        paint(work, wrong)
    assert (caught.value.key, caught.value.found) == (key, found)
    assert work.version == version, "nothing was painted"


def test_classes_need_a_segmentation() -> None:
    work = small_work(conditions={"normal": small_record().conditions["normal"]})
    with pytest.raises(SpecError) as caught:
        paint(work, stroke("class", 2))
    assert (caught.value.found, caught.value.expected) == ("a class", "a record with a segmentation")


@pytest.mark.parametrize("points", [[], [(float("nan"), 1.0)], [(1e9, 1.0)], [(1.0, 1.0)] * 4001])
def test_strokes_are_bounded(points: Any) -> None:
    with pytest.raises(ValidationError):
        stroke("class", 2, points)
