"""Grids: several panels on one canvas, tiled from the maps of their records and cut out of its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dentgen.errors import SpecError
from dentgen.records import ConditionRecord, MapArray

#: ``row`` and ``square`` draw all panels on one canvas, side by side or two by two; ``shared`` gives each panel a
#: canvas of its own, with the same noise.
Layout = Literal["row", "square", "shared"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)


def grid_shape(layout: Layout, panels: int) -> tuple[int, int]:
    """Rows and columns of a canvas.

    Raises:
        SpecError: If so many panels make no square.
    """
    if layout == "shared":
        return 1, 1
    if layout == "row":
        return 1, panels
    edge = round(panels**0.5)
    if edge * edge != panels:
        raise SpecError(key="--lights", found=panels, expected="a square number for --layout square, such as 4")
    return edge, edge


def tile_records(records: Sequence[ConditionRecord], shape: tuple[int, int]) -> ConditionRecord:
    """One record whose maps are those of all records, row by row, without FDI numbers and photo.

    Args:
        records: Records of one size with the same conditions, as many as the grid has places.
        shape: Rows and columns.
    """
    first = records[0]
    conditions = {name: _tiled([record.conditions[name] for record in records], shape) for name in first.conditions}
    return replace(first, conditions=conditions, fdi=None, photo=None, sample=None)


def _tiled(maps: Sequence[MapArray], shape: tuple[int, int]) -> MapArray:
    """Maps side by side and one below the other."""
    rows, columns = shape
    return np.concatenate([np.concatenate(maps[row * columns : (row + 1) * columns], 1) for row in range(rows)], 0)


def split_picture(picture: NDArray[np.uint8], shape: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """The panels (H, W, 3) of a canvas (rows x H, columns x W, 3), row by row."""
    rows, columns = shape
    return [panel for row in np.split(picture, rows, 0) for panel in np.split(row, columns, 1)]
