"""Tubes and discs are closed where they should be, and their normals point outwards."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.camera import sample_camera
from dentgen.phantom.mesh import Part, Tissue, join_parts
from dentgen.phantom.surroundings.solids import disc, smooth_path, to_world, tube
from dentgen.seeding import numpy_generator


def volume(part: Part) -> float:
    """Signed volume of a closed mesh: positive if its faces are wound outwards."""
    corner = part.vertices[part.faces]
    return float((np.cross(corner[:, 0], corner[:, 1]) * corner[:, 2]).sum() / 6)


@pytest.mark.parametrize("turned", [1, -1])
def test_a_straight_tube_has_the_volume_of_its_cylinder(turned: int) -> None:
    path = np.linspace([0, 0, 0], [30, 4, 2], 20)[::turned]
    part = tube(path, np.full(20, 3.0), Tissue.INSTRUMENT, 2.0)
    length = np.linalg.norm(path[-1] - path[0])
    assert volume(part) == pytest.approx(np.pi * 9 * length, rel=0.03)
    assert (part.attributes["height"] == 2.0).all()
    normals = join_parts([part]).normals
    axis = path[-1] - path[0]
    on_axis = path[0] + np.outer((part.vertices - path[0]) @ axis / (axis @ axis), axis)
    outwards = ((part.vertices - on_axis) * normals).sum(1)
    assert (outwards > 0).mean() > 0.85


def test_a_disc_faces_its_normal() -> None:
    part = disc(np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.6, 0.8]), 10.0, Tissue.INSTRUMENT, (1.0, 0.0))
    mesh = join_parts([part])
    face = part.attributes["height"] == 1.0
    assert (mesh.normals[face] @ [0.0, 0.6, 0.8] > 0.99).all()
    assert np.linalg.norm(part.vertices - [1.0, 2.0, 3.0], axis=1).max() == pytest.approx(10.0, abs=0.2)


def test_a_path_runs_between_its_ends() -> None:
    points = np.array([[0.0, 0, 0], [5, 5, 0], [10, 0, 0]])
    path = smooth_path(points, 11)
    assert path[0].tolist() == [0, 0, 0]
    assert path[-1].tolist() == [10, 0, 0]
    assert path[5].tolist() == [5, 2.5, 0]


def test_camera_space_begins_at_the_target_and_comes_towards_the_camera() -> None:
    camera = sample_camera("left", 40.0, numpy_generator("space"))
    points = np.array([[0.0, 0, 0], [0, 0, camera.distance_mm], [1, 0, 0]])
    target, eye, right = to_world(points, camera)
    np.testing.assert_allclose(target, camera.eye - camera.distance_mm * camera.axes[2])
    np.testing.assert_allclose(eye, camera.eye)
    np.testing.assert_allclose(right - target, camera.axes[0])
