"""Meshes answer alike with every available accelerator."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.rays.grid import GridRayMesh
from dentgen.phantom.rays.mesh import Accelerator, RayMesh
from tests.phantom.rays.oracle import sheet, unit


def accelerators() -> list[type[Accelerator]]:
    return list(dict.fromkeys([RayMesh.accelerator, GridRayMesh]))


@pytest.fixture(autouse=True, params=accelerators())
def _accelerator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RayMesh, "accelerator", request.param)


def test_hits_lie_on_the_mesh_at_their_distance() -> None:
    """The hit that face, u and v name is the point at the distance along the ray."""
    vertices, faces = sheet()
    mesh, eye = RayMesh(vertices, faces), np.array([1.0, 2.0, 80.0])
    direction = unit(np.random.default_rng(0).uniform(-9, 9, (200, 3)) * [1, 1, 0] - eye)
    face, u, v = mesh.first_hit(eye, direction)
    assert (face >= 0).all()
    a, b, c = vertices[faces[face]].transpose(1, 0, 2)
    point = a + u[:, None] * (b - a) + v[:, None] * (c - a)
    distance = mesh.distance(np.broadcast_to(eye, direction.shape), direction)
    assert np.allclose(eye + direction * distance[:, None], point, atol=2e-3)


def test_misses_have_no_face_and_the_limit_as_distance() -> None:
    mesh = RayMesh(*sheet())
    upwards = np.array([[0.0, 0.0, 1.0]])
    above = np.array([0.0, 0.0, 50.0])
    assert mesh.first_hit(above, upwards)[0].tolist() == [-1]
    assert mesh.distance(above[None], upwards, 7.0).tolist() == [7.0]
    assert mesh.distance(above[None], upwards)[0] >= 1e36
    assert mesh.distance(above[None], -upwards, 7.0).tolist() == [7.0], "the sheet is farther away than that"
