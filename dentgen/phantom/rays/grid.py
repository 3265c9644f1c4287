"""Ray casting in numpy, for platforms without Embree.

All rays traverse a uniform grid in lockstep, cell by cell (Amanatides and Woo 1987, "A fast voxel traversal
algorithm"), and are tested against the triangles of each cell (Moeller and Trumbore 1997, "Fast, minimum storage
ray/triangle intersection", with precomputed normals).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dentgen.phantom.anatomy import FloatArray, IntArray
from dentgen.phantom.rays.triangle_grid import TriangleGrid

_BLOCK = 16_384  # rays traversed together; bounds the memory
_PAIRS = 65_536  # pairs of ray and triangle tested together; bounds the memory
_SLACK = 1e-9  # share by which triangles and cells extend beyond their edges, so that rounding opens no cracks

_Rows = FloatArray | Sequence[FloatArray]
"""x, y and z (n,) of points or vectors as separate arrays, on which numpy is several times faster."""


@dataclass(frozen=True, slots=True)
class _Hits:
    """First hit of every ray (n,): face (-1 if none), distance, barycentric u and v."""

    face: IntArray
    distance: FloatArray
    u: FloatArray
    v: FloatArray


@dataclass(frozen=True, slots=True)
class _Rays:
    """Rays that meet the grid's box, with origins moved to where they enter it.

    Attributes:
        number: (n,) indices into the hits.
        origin, direction: (3, n), mm.
        start: (n,) distance of the moved origin from the true one.
        limit: (n,) distance from the moved origin at which the ray ends.
    """

    number: IntArray
    origin: FloatArray
    direction: FloatArray
    start: FloatArray
    limit: FloatArray


@dataclass(frozen=True, slots=True)
class _Walk:
    """Traversal state of the rays still under way.

    Attributes:
        ray: (n,) indices into the rays.
        cell: (n,) numbers of their current cells.
        entry: (n,) distance at which they entered the cell.
        limit: (n,) distance at which they end.
        plane: (3, n) distance of the next cell border along each axis.
        pace: (3, n) distance between borders.
        stride: (3, n) change of the cell number across a border.
    """

    ray: IntArray
    cell: IntArray
    entry: FloatArray
    limit: FloatArray
    plane: FloatArray
    pace: FloatArray
    stride: IntArray

    def step(self, leave: FloatArray, going: NDArray[np.bool_]) -> _Walk:
        """The rays still ``going``, in their next cells; ``leave`` (n,) is where they leave the current ones."""
        crossed = self.plane <= leave
        plane = self.plane + np.where(crossed, self.pace, 0)
        x, y, z = self.stride * crossed
        cell = self.cell + x + y + z
        if going.all():
            return _Walk(self.ray, cell, leave, self.limit, plane, self.pace, self.stride)
        kept = np.flatnonzero(going)
        return _Walk(
            self.ray[kept], cell[kept], leave[kept], self.limit[kept],
            plane[:, kept], self.pace[:, kept], self.stride[:, kept],
        )  # fmt: skip


class GridRayMesh:
    """Triangles in a uniform grid; an ``Accelerator``."""

    def __init__(self, vertices: FloatArray, faces: IntArray) -> None:
        """Sort faces (F, 3) of vertices (V, 3) mm into the grid."""
        self._grid = TriangleGrid(vertices, faces)

    def first_hit(self, origin: FloatArray, direction: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
        """See ``RayMesh.first_hit``."""
        hits = self._trace(np.broadcast_to(origin, direction.shape), direction, np.inf)
        return hits.face, hits.u, hits.v

    def distance(self, origin: FloatArray, direction: FloatArray, limit_mm: float) -> FloatArray:
        """See ``RayMesh.distance``."""
        return self._trace(origin, direction, limit_mm).distance

    def _trace(self, origin: FloatArray, direction: FloatArray, limit_mm: float) -> _Hits:
        count = len(direction)
        hits = _Hits(np.full(count, -1), np.full(count, float(limit_mm)), np.zeros(count), np.zeros(count))
        for start in range(0, count, _BLOCK):
            number = np.arange(start, min(start + _BLOCK, count))
            rays = _entering(self._grid, number, origin[number].T, direction[number].T, limit_mm)
            _follow(self._grid, rays, hits)
        return hits


def _entering(
    grid: TriangleGrid, number: IntArray, origin: FloatArray, direction: FloatArray, limit_mm: float
) -> _Rays:
    """Rays that meet the box before they end; NaN and infinite directions meet nothing."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        walls = (np.stack([grid.low, grid.high])[..., None] - origin) / direction
    start, end = np.maximum(walls.min(0).max(0), 0), walls.max(0).min(0)
    met = np.flatnonzero((start <= end) & (start < limit_mm) & np.isfinite(direction).all(0))
    start, direction = start[met], direction[:, met].astype(np.float64)
    return _Rays(number[met], origin[:, met] + direction * start, direction, start, limit_mm - start)


def _follow(grid: TriangleGrid, rays: _Rays, hits: _Hits) -> None:
    """Traverse until every ray has hit a triangle, left the box or reached its end."""
    walk = _first_cells(grid, rays)
    while len(walk.ray):
        count = grid.count[walk.cell]
        leave = np.minimum(np.minimum(walk.plane[0], walk.plane[1]), walk.plane[2])
        going = (count >= 0) & (leave < walk.limit)
        filled = np.flatnonzero(count > 0)
        for part in _batches(filled, count[filled]):
            going[part[_meet(grid, rays, walk, part, leave[part], hits)]] = False
        walk = walk.step(leave, going)


def _first_cells(grid: TriangleGrid, rays: _Rays) -> _Walk:
    low = grid.low[:, None]
    place = ((rays.origin - low) / grid.cell_mm).astype(np.int64).clip(0, grid.shape[:, None] - 1)
    border = low + (place + (rays.direction > 0)) * grid.cell_mm
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        plane = np.where(rays.direction == 0, np.inf, (border - rays.origin) / rays.direction)
        pace = grid.cell_mm / np.abs(rays.direction)
    stride = np.sign(rays.direction).astype(np.int64) * grid.stride[:, None]
    ray = np.arange(len(rays.number))
    return _Walk(ray, grid.numbers(place), np.zeros(len(ray)), rays.limit, plane, pace, stride)


def _batches(indices: IntArray, count: IntArray) -> Iterator[IntArray]:
    """Split ``indices`` into batches of at most ``_PAIRS`` counted pairs; a single index may exceed that."""
    total = np.cumsum(count)
    start = 0
    while start < len(indices):
        done = total[start - 1] if start else 0
        end = max(int(np.searchsorted(total, done + _PAIRS, "right")), start + 1)
        yield indices[start:end]
        start = end


def _meet(grid: TriangleGrid, rays: _Rays, walk: _Walk, part: IntArray, leave: FloatArray, hits: _Hits) -> IntArray:
    """Test part of a walk against its cells' triangles, up to the cell border, and record the hits.

    Returns indices into ``part`` of the rays that hit; an index may occur several times.
    """
    cell, ray = walk.cell[part], walk.ray[part]
    count = grid.count[cell]
    end = np.cumsum(count)
    owner = np.repeat(np.arange(len(part)), count)
    triangle = grid.triangle[np.arange(len(owner)) + np.repeat(grid.start[cell] - (end - count), count)]
    slack = _SLACK * grid.cell_mm
    near = np.maximum(walk.entry[part] - slack, 0)
    far = np.minimum(leave + slack, walk.limit[part])
    origin, direction = ([np.repeat(row, count) for row in _at(rows, ray)] for rows in (rays.origin, rays.direction))
    pair, distance, u, v = _intersect(grid, triangle, origin, direction, np.repeat(near, count), np.repeat(far, count))
    order = np.lexsort((-triangle[pair], -distance))  # the nearest is written last; ties go to the lower face
    pair = pair[order]
    owner = owner[pair]
    ray = ray[owner]
    number = rays.number[ray]
    hits.face[number] = grid.face[triangle[pair]]
    hits.distance[number] = distance[order] + rays.start[ray]
    hits.u[number], hits.v[number] = u[order], v[order]
    return owner


def _intersect(
    grid: TriangleGrid, triangle: IntArray, origin: _Rows, direction: _Rows, near: FloatArray, far: FloatArray
) -> tuple[IntArray, FloatArray, FloatArray, FloatArray]:
    """Indices of the pairs that meet at a distance in (near, far], with their distance, u and v."""
    *normal, offset = _at(grid.plane, triangle)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # rays in a triangle's plane miss it
        towards = _dot(normal, direction)
        distance = (offset - _dot(normal, origin)) / towards
        pair = np.flatnonzero((distance > near) & (distance <= far))
        towards, triangle = towards[pair], triangle[pair]
        arm = [start - corner for start, corner in zip(_at(origin, pair), _at(grid.corner, triangle), strict=True)]
        turn = _cross(arm, _at(direction, pair))
        u = -_dot(_at(grid.edge_2, triangle), turn) / towards
        v = _dot(_at(grid.edge_1, triangle), turn) / towards
    inside = np.flatnonzero((u >= -_SLACK) & (v >= -_SLACK) & (u + v <= 1 + _SLACK))
    return pair[inside], distance[pair[inside]], u[inside], v[inside]


def _at(rows: _Rows, index: IntArray) -> list[FloatArray]:
    return [row[index] for row in rows]


def _dot(a: _Rows, b: _Rows) -> FloatArray:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a: _Rows, b: _Rows) -> list[FloatArray]:
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
