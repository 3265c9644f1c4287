"""Embree against brute force, within float32."""

from __future__ import annotations

import numpy as np
import pytest

from tests.phantom.rays.oracle import brute_force, sheet, soup, unit

embree = pytest.importorskip("dentgen.phantom.rays.embree", exc_type=ImportError)


def test_distances_equal_brute_force() -> None:
    rng = np.random.default_rng(0)
    vertices, faces = soup(rng)
    origin, direction = rng.uniform(-0.4, 1.4, (800, 3)) * [24, 9, 15], unit(rng.normal(0, 1, (800, 3)))
    expected = brute_force(vertices, faces, origin, direction).distance
    mesh = embree.EmbreeRayMesh(vertices, faces)
    for limit in (1e37, 7.0):
        found = mesh.distance(origin, direction, limit)
        agree = np.isclose(found, np.minimum(expected, np.float32(limit)), rtol=1e-4, atol=1e-4)
        assert agree.mean() > 0.99, "rays through an edge may go either way"


def test_first_hits_equal_brute_force() -> None:
    vertices, faces = sheet()
    eye = np.array([3.0, -2.0, 60.0])
    target = np.random.default_rng(1).uniform(-12, 12, (400, 3)) * [1, 1, 0]
    direction = unit(target - eye)
    expected = brute_force(vertices, faces, np.broadcast_to(eye, direction.shape), direction)
    face, u, v = embree.EmbreeRayMesh(vertices, faces).first_hit(eye, direction)
    agree = face == expected.face
    assert agree.mean() > 0.99
    assert 0.3 < (face >= 0).mean() < 0.95
    hit = agree & (face >= 0)
    assert np.allclose(u[hit], expected.u[hit], atol=2e-3)
    assert np.allclose(v[hit], expected.v[hit], atol=2e-3)
