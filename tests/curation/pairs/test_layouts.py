"""Grids of panels: tiling of maps and splitting of pictures are each other's inverse."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.curation.pairs.layouts import grid_shape, split_picture, tile_records
from dentgen.errors import SpecError
from dentgen.records import ConditionRecord


def record(value: int) -> ConditionRecord:
    """A record of 2 x 3 pixels whose maps have one value."""
    seg, normal = np.full((2, 3), value, np.uint8), np.full((2, 3, 3), value, np.uint8)
    return ConditionRecord("jaw", "jaw", "", "", {"segmentation": seg, "normal": normal}, seg, normal, "", {})


def test_shapes_of_the_layouts() -> None:
    assert [grid_shape("row", 4), grid_shape("square", 4), grid_shape("shared", 4)] == [(1, 4), (2, 2), (1, 1)]
    assert grid_shape("square", 9) == (3, 3)


def test_a_square_needs_a_square_number() -> None:
    with pytest.raises(SpecError) as error:
        grid_shape("square", 3)
    assert (error.value.key, error.value.found) == ("--lights", 3)


@pytest.mark.parametrize("shape", [(1, 4), (2, 2)])
def test_panels_of_a_tiled_map_are_the_maps(shape: tuple[int, int]) -> None:
    records = [record(value) for value in range(4)]
    tiled = tile_records(records, shape)
    assert tiled.shape == (2 * shape[0], 3 * shape[1])
    assert (tiled.fdi, tiled.photo) == (None, None)
    panels = split_picture(tiled.conditions["normal"].astype(np.uint8), shape)
    assert [panel.shape for panel in panels] == [(2, 3, 3)] * 4
    assert [int(panel[0, 0, 0]) for panel in panels] == [0, 1, 2, 3]
    assert all(np.ptp(panel) == 0 for panel in panels)
