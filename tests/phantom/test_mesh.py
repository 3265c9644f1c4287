"""Meshes join as their parts do, and normals point where a part says."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.mesh import (
    ATTRIBUTES,
    Part,
    Tissue,
    grid_faces,
    join_meshes,
    join_parts,
    oriented_normals,
    vertex_normals,
)
from tests.phantom.solids import ball, plate


def test_meshes_join_as_their_parts_do() -> None:
    parts = [plate(0, 2, Tissue.TOOTH, 11), plate(3, 9, Tissue.GUM), plate(5, 20, Tissue.LIP)]
    at_once, in_turn = join_parts(parts), join_meshes([join_parts(parts[:2]), join_parts(parts[2:])])
    for name in ("vertices", "normals", "faces", "tissue", "fdi"):
        assert (getattr(at_once, name) == getattr(in_turn, name)).all(), name
    for name in ATTRIBUTES:
        assert (at_once.attributes[name] == in_turn.attributes[name]).all(), name


def test_joined_faces_keep_their_corners_and_labels() -> None:
    parts = [plate(0, 2, Tissue.TOOTH, 11), plate(3, 9, Tissue.GUM)]
    mesh = join_parts(parts)
    corners = np.concatenate([part.vertices[part.faces] for part in parts])
    assert (mesh.vertices[mesh.faces] == corners).all()
    count = len(parts[0].faces)
    assert set(mesh.tissue[:count].tolist()) == {Tissue.TOOTH}
    assert set(mesh.fdi[count:].tolist()) == {0}
    assert not mesh.attributes["buccal"].any(), "absent attributes are 0"


@pytest.mark.parametrize("closed", [False, True])
def test_grid_faces_cover_every_cell_of_the_grid_once(closed: bool) -> None:
    """Oracle: the area of the unit cells; a closed grid also joins the last column to the first."""
    y, x = np.mgrid[0:4, 0:5].astype(float)
    vertices = np.stack([x, y, np.zeros_like(x)], -1).reshape(-1, 3)
    faces = grid_faces(4, 5, closed=closed)
    a, b, c = vertices[faces].transpose(1, 0, 2)
    area = np.abs(np.cross(b - a, c - a)[:, 2]) / 2
    assert len(faces) == 2 * 3 * (5 if closed else 4)
    assert area.sum() == pytest.approx(3 * 4 + (3 * 4 if closed else 0))


def test_vertex_normals_of_a_ball_are_its_radii() -> None:
    part = ball(5.0)
    normals = vertex_normals(part.vertices, part.faces)
    radii = part.vertices / np.linalg.norm(part.vertices, axis=1, keepdims=True)
    assert np.abs((normals * radii).sum(1)).min() > 0.999


def test_normals_agree_with_facing_and_point_away_from_the_centre() -> None:
    sheet = plate(0, 2, Tissue.GUM)
    for facing in ([0.0, 0.0, 1.0], [0.0, 0.0, -1.0]):
        turned = Part(sheet.vertices, sheet.faces, sheet.tissue, facing=np.array(facing))
        assert np.allclose(oriented_normals(turned), facing)
        below = Part(sheet.vertices, sheet.faces, sheet.tissue, facing=turned.facing, centre=np.array([0.0, 0.0, 9.0]))
        assert np.allclose(oriented_normals(below), [0.0, 0.0, -1.0]), "the centre takes precedence"


def test_moved_parts_take_their_centre_along() -> None:
    moved = Part(np.zeros((1, 3)), np.zeros((0, 3), int), Tissue.TOOTH, 11, centre=np.ones(3)).moved(np.full(3, 2.0))
    assert moved.vertices.tolist() == [[2.0, 2.0, 2.0]]
    assert moved.centre is not None
    assert moved.centre.tolist() == [3.0, 3.0, 3.0]
    assert moved.fdi == 11
