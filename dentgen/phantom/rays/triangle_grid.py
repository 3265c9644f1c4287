"""Triangles sorted into the cells of a uniform grid, for rays that traverse it cell by cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dentgen.phantom.anatomy import FloatArray, IntArray

_CELL_MM = 1.0  # fastest on mouths: larger cells cost more tests, smaller ones more steps
_MAX_CELLS, _MAX_ENTRIES = 4_000_000, 2_500_000  # about 100 bytes an entry while the grid is built
_MARGIN_MM = 1e-3  # keeps triangles out of the walls of the box
_PAD = 1e-6  # share of a cell: rays on a border, or across it by rounding, must find the triangles that touch it
_FLAT = 1e-12  # ratio of height to length below which rounding decides a triangle's normal


class TriangleGrid:
    """The triangles of a mesh by cell, inside a border of cells that ends the traversal.

    Degenerate triangles (zero area, or NaN or infinite corners) are left out: no ray can hit them.

    Attributes:
        face: (T,) face numbers of the triangles in the mesh.
        plane: (4, T) rows: normal (edge 1 x edge 2, not of unit length) and its dot product with the first corner.
        corner, edge_1, edge_2: (3, T) first corner, and vectors from it to the second and the third.
        low, high: (3,) mm, the box of all cells except the border.
        cell_mm: Edge of a cell.
        shape: (3,) number of cells along each axis, without the border.
        stride: (3,) difference of the numbers of neighbouring cells.
        count: (cells,) number of triangles in every cell; -1 in the border.
        start: (cells,) index of a cell's first entry in ``triangle``.
        triangle: (entries,) indices into the arrays above, ordered by cell.
    """

    def __init__(self, vertices: FloatArray, faces: IntArray) -> None:
        """Sort faces (F, 3) of vertices (V, 3) mm."""
        corners = np.asarray(vertices, np.float64)[faces].reshape(-1, 3, 3)
        self.face = np.flatnonzero(_solid(corners))
        corners = corners[self.face]
        self.corner, self.edge_1, self.edge_2 = _columns(
            corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        )
        normal = np.cross(self.edge_1, self.edge_2, axis=0)
        self.plane = np.concatenate([normal, (normal * self.corner).sum(0)[None]])
        first, last = self._lay_out(corners)
        cell, self.triangle = self._entries(first, last)
        padded = self.shape + 2
        count = np.bincount(cell, minlength=int(padded.prod()))
        self.start = np.cumsum(count) - count
        self.count = np.full(padded, -1)
        self.count[1:-1, 1:-1, 1:-1] = count.reshape(padded)[1:-1, 1:-1, 1:-1]
        self.count = self.count.ravel()

    def numbers(self, place: IntArray) -> IntArray:
        """Numbers (n,) of the cells at places (3, n); (0, 0, 0) is the first cell inside the border."""
        return self.stride @ (place + 1)

    def _lay_out(self, corners: FloatArray) -> tuple[IntArray, IntArray]:
        """Choose the cell size, larger where a sprawling mesh would need too much memory.

        Returns the first and last place (T, 3) of every triangle's bounding box.
        """
        low = np.minimum(np.minimum(corners[:, 0], corners[:, 1]), corners[:, 2])
        high = np.maximum(np.maximum(corners[:, 0], corners[:, 1]), corners[:, 2])
        none = np.zeros(3)
        self.low = (low.min(0) if len(low) else none) - _MARGIN_MM
        extent = (high.max(0) if len(high) else none) + _MARGIN_MM - self.low
        self.cell_mm = _CELL_MM
        while self._too_many(extent, high - low):
            self.cell_mm *= 1.5
        self.shape = np.ceil(extent / self.cell_mm).astype(np.int64)
        self.high = self.low + self.shape * self.cell_mm
        self.stride = np.array([(self.shape[1] + 2) * (self.shape[2] + 2), self.shape[2] + 2, 1])
        first = ((low - self.low) / self.cell_mm - _PAD).astype(np.int64)
        last = ((high - self.low) / self.cell_mm + _PAD).astype(np.int64)
        return first, np.minimum(last, self.shape - 1)

    def _too_many(self, extent: FloatArray, sizes: FloatArray) -> bool:
        """Whether a box of ``extent`` (3,) has too many cells, or triangles of ``sizes`` (T, 3) too many entries."""
        entries = (sizes / self.cell_mm + 1).prod(1).sum()  # expected number, for random offsets
        return bool(np.ceil(extent / self.cell_mm).prod() > _MAX_CELLS or entries > max(_MAX_ENTRIES, 8 * len(sizes)))

    def _entries(self, first: IntArray, last: IntArray) -> tuple[IntArray, IntArray]:
        """Cell and triangle of every entry, ordered by both."""
        span = last - first + 1
        count = span.prod(1)
        triangle = np.repeat(np.arange(len(count)), count)
        rest = np.arange(len(triangle)) - np.repeat(np.cumsum(count) - count, count)
        rest, z = np.divmod(rest, span[triangle, 2])
        x, y = np.divmod(rest, span[triangle, 1])
        place = np.stack([x, y, z]) + first.T[:, triangle]
        cut = self._cut(place, triangle)
        base = max(len(count), 1)
        cell, triangle = np.divmod(np.sort(self.numbers(place[:, cut]) * base + triangle[cut]), base)
        return cell, triangle

    def _cut(self, place: IntArray, triangle: IntArray) -> NDArray[np.bool_]:
        """Whether the triangle's plane cuts the cell at ``place`` (3, n)."""
        normal = self.plane[:3] / np.sqrt((self.plane[:3] ** 2).sum(0))
        offset = (normal * (self.corner - self.low[:, None])).sum(0) / self.cell_mm
        reach = np.abs(normal).sum(0) / 2 + _PAD
        distance = (normal[:, triangle] * (place + 0.5)).sum(0) - offset[triangle]
        return np.abs(distance) <= reach[triangle]


def _solid(corners: FloatArray) -> NDArray[np.bool_]:
    """Whether triangles (F, 3, 3) have a positive area and finite corners."""
    with np.errstate(invalid="ignore"):
        edge_1, edge_2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        longest = np.maximum((edge_1**2).sum(1), (edge_2**2).sum(1))
        return np.linalg.norm(np.cross(edge_1, edge_2), axis=1) > _FLAT * longest


def _columns(*rows: FloatArray) -> list[FloatArray]:
    """Arrays (n, 3) as contiguous (3, n): coordinates are read one at a time."""
    return [np.ascontiguousarray(array.T) for array in rows]
