"""A mesh travels to other processes as it is, and is one: finite, with triangles of its own vertices."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from dentgen.errors import ConditionError
from dentgen.ingest.scans.scan_mesh import ScanMesh, checked_arrays, merge_vertices


def test_a_mesh_survives_pickling() -> None:
    mesh = ScanMesh(np.eye(3), np.array([[0, 1, 2]]), np.array([11], np.uint8), "upper")
    copy = pickle.loads(pickle.dumps(mesh))
    assert (copy.vertices == mesh.vertices).all()
    assert (copy.labels.tolist(), copy.jaw) == ([11], "upper")


def test_vertices_in_one_place_become_one() -> None:
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    corners = square[[0, 1, 2, 0, 2, 3]]
    mesh = merge_vertices(ScanMesh(corners, np.arange(6).reshape(2, 3), None, "lower"))
    assert len(mesh.vertices) == 4
    assert (mesh.vertices[mesh.faces] == corners.reshape(2, 3, 3)).all()
    assert mesh.jaw == "lower"


@pytest.mark.parametrize(
    ("vertices", "faces", "found"),
    [
        (np.zeros((3, 2)), [[0, 1, 2]], "vertices (3, 2)"), (np.zeros((3, 3)), [[0, 1]], "vertices (3, 3)"),
        (np.full((3, 3), np.nan), [[0, 1, 2]], "coordinates that are not finite"),
        (np.zeros((3, 3)), [[0, 1, 3]], "a triangle of vertex 3"), (np.zeros((3, 3)), [[0, -1, 2]], "a triangle of"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_mesh_are_refused(vertices: np.ndarray, faces: list[list[int]], found: str) -> None:
    with pytest.raises(ConditionError) as caught:
        checked_arrays("x.obj", vertices, np.array(faces))
    assert caught.value.file == "x.obj"
    assert caught.value.found.startswith(found)
