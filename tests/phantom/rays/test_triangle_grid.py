"""Cells list every triangle that touches them, and memory stays bounded."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.rays.grid import GridRayMesh
from dentgen.phantom.rays.triangle_grid import TriangleGrid
from tests.phantom.rays.oracle import brute_force, soup, unit


def triangles_of(grid: TriangleGrid, cell: int) -> set[int]:
    """Faces that a cell lists."""
    start, count = grid.start[cell], grid.count[cell]
    return set(grid.face[grid.triangle[start : start + count]].tolist())


def test_cells_list_every_triangle_with_a_point_in_them() -> None:
    """Oracle: random points of random triangles."""
    rng = np.random.default_rng(3)
    vertices, faces = soup(rng)
    grid = TriangleGrid(vertices, faces)
    for face in rng.integers(0, len(faces), 300).tolist():
        point = rng.dirichlet(np.ones(3)) @ vertices[faces[face]]
        place = np.floor((point - grid.low) / grid.cell_mm).astype(int)
        assert face in triangles_of(grid, int(grid.numbers(place[:, None])[0]))


def test_cells_list_no_triangle_far_from_them() -> None:
    grid = TriangleGrid(np.array([[0.0, 0, 0], [9, 0, 9], [0, 9, 9], [0.2, 0.2, 0], [0.4, 0.2, 0], [0.2, 0.4, 0]]),
                        np.array([[0, 1, 2], [3, 4, 5]]))  # fmt: skip
    corner = grid.numbers(np.array([[8], [8], [0]]))  # in the first one's bounding box, far from its plane
    assert triangles_of(grid, int(corner[0])) == set()
    assert triangles_of(grid, int(grid.numbers(np.zeros((3, 1), int))[0])) == {0, 1}


def test_only_the_border_is_marked_and_surrounds_all_cells() -> None:
    grid = TriangleGrid(*soup(np.random.default_rng(5), 50))
    count = grid.count.reshape(grid.shape + 2)
    assert (count[1:-1, 1:-1, 1:-1] >= 0).all()
    count[1:-1, 1:-1, 1:-1] = -1
    assert (count == -1).all()


def test_degenerate_triangles_are_left_out() -> None:
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0], [np.nan, 0, 0]])
    grid = TriangleGrid(vertices, np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4], [1, 1, 1]]))
    assert grid.face.tolist() == [1]


@pytest.mark.integration
def test_sprawling_meshes_get_larger_cells() -> None:
    """Memory stays bounded with one triangle far away or many across the box, and hits stay right."""
    rng = np.random.default_rng(1)
    vertices, faces = soup(rng)
    vertices[-1] = [3e5, 2e5, -1e5]
    large = rng.uniform(-60, 60, (120, 3))
    for corners, triangles in ((vertices, faces), (large, np.arange(120).reshape(-1, 3))):
        grid = TriangleGrid(corners, triangles)
        assert grid.cell_mm > 1
        assert len(grid.count) < 5e6
        assert len(grid.triangle) < 3e6
        origin, direction = rng.uniform(-5, 20, (300, 3)), unit(rng.normal(0, 1, (300, 3)))
        expected = brute_force(corners, triangles, origin, direction).distance
        found = GridRayMesh(corners, triangles).distance(origin, direction, 60.0)
        assert np.allclose(found, np.minimum(expected, 60), atol=1e-8)
