"""Enlarging against closed forms: surfaces end where labels do, normals stay unit vectors, levels do not overshoot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dentgen.conditions.enlarge import (
    enlarged_levels,
    enlarged_normals,
    enlarged_picture,
    enlarged_surface,
    enlarges,
)
from dentgen.conditions.prepare import fit_record
from dentgen.records import MapArray, SourceSample
from tests.conditions.test_prepare import made_record

EDGE = 12


def half_surface(level: int, dtype: type[np.uint8] | type[np.uint16]) -> MapArray:
    columns = np.arange(EDGE) < EDGE // 2
    wide = np.tile(columns * level, (EDGE, 1))
    return wide.astype(np.uint8) if dtype is np.uint8 else wide.astype(np.uint16)


@pytest.mark.parametrize(("level", "dtype"), [(200, np.uint8), (40_000, np.uint16)])
def test_a_flat_surface_stays_flat_up_to_its_edge(level: int, dtype: type[np.uint8] | type[np.uint16]) -> None:
    found = enlarged_surface(half_surface(level, dtype), (2 * EDGE, 2 * EDGE))
    assert found.dtype == dtype
    assert (found == half_surface(level, dtype).repeat(2, 0).repeat(2, 1)).all()


def test_levels_are_between_their_neighbours() -> None:
    ramp = np.tile(np.arange(0, 240, 20, dtype=np.uint8), (EDGE, 1))
    found = enlarged_levels(ramp, (2 * EDGE, 2 * EDGE))
    assert (np.diff(found[3].astype(int)) >= 0).all()
    assert len(np.unique(found)) > len(np.unique(ramp)), "interpolated, not repeated"


def test_normals_are_unit_vectors_and_emptiness_stays_empty() -> None:
    normals = np.zeros((EDGE, EDGE, 3), np.uint8)
    normals[:, :4], normals[:, 4:8] = (255, 128, 128), (128, 255, 128)
    found = enlarged_normals(normals, (2 * EDGE, 2 * EDGE))
    inside = (found > 0).any(-1)
    assert (inside == (np.arange(2 * EDGE) < 16)).all()
    vectors = found[inside] / 127.5 - 1
    assert np.abs(np.linalg.norm(vectors, axis=-1) - 1).max() < 0.02
    assert ((found[:, 7:9, 0] > 150) & (found[:, 7:9, 1] > 150)).all(), "mixed where two surfaces meet"


def test_a_record_is_enlarged_each_map_in_its_way() -> None:
    labels = np.arange(30, dtype=np.uint8).reshape(5, 6)
    record = replace(made_record(5, 6), sample=SourceSample(True, "", (), labels))
    found = fit_record(record, (10, 12), "pad")
    for before, after in (
        (record.conditions["segmentation"], found.conditions["segmentation"]),
        (record.conditions["findings"], found.conditions["findings"]),
        (record.fdi, found.fdi),
        (labels, None if found.sample is None else found.sample.finding_labels),
    ):
        assert before is not None
        assert after is not None
        assert np.array_equal(after, before.repeat(2, 0).repeat(2, 1))
    assert record.photo is not None
    expected = np.asarray(Image.fromarray(record.photo).resize((12, 10), Image.Resampling.LANCZOS))
    assert found.photo is not None
    assert np.array_equal(found.photo, expected)
    assert np.array_equal(enlarged_picture(record.photo, (10, 12)), expected)
    assert np.array_equal(found.conditions["depth"], enlarged_surface(record.conditions["depth"], (10, 12)))


def test_only_what_grows_is_enlarged() -> None:
    array = np.zeros((4, 6), np.uint8)
    assert [enlarges(array, shape) for shape in ((4, 6), (4, 7), (3, 12), (8, 12), (2, 3))] == [
        False, True, False, True, False,
    ]  # fmt: skip
