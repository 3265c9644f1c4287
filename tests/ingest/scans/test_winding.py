"""Triangles of scans face outwards, whatever the file says, and scans that do stay as they are."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from dentgen.ingest.scans.winding import turned_outwards
from dentgen.phantom.camera import View
from dentgen.phantom.mesh import Mesh, join_parts, vertex_normals
from tests.ingest.scans.jaws import cast


@cache
def outward(view: View) -> Mesh:
    """A phantom's teeth and gum, their triangles turned to agree with the phantom's own normals."""
    mesh = join_parts([part for part in cast(view) if part.fdi or np.ptp(part.attributes.get("margin_mm", [0])) > 0])
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    wrong = (normals * mesh.normals[mesh.faces].mean(1)).sum(1) < 0
    faces = np.where(wrong[:, None], mesh.faces[:, ::-1], mesh.faces)
    return replace(mesh, faces=faces, normals=vertex_normals(mesh.vertices, faces))


@pytest.mark.parametrize("view", ["frontal", "upper-occlusal"])
def test_a_sound_scan_stays_as_it_is(view: View) -> None:
    mesh = outward(view)
    assert turned_outwards(mesh, upper=True) is mesh


@pytest.mark.parametrize("numbers", [(0,), (11, 36), tuple(range(50))], ids=["gum", "two teeth", "everything"])
def test_what_faces_inwards_is_turned_and_nothing_else(numbers: tuple[int, ...]) -> None:
    mesh = outward("frontal")
    inwards = np.isin(mesh.fdi, numbers)
    faces = np.where(inwards[:, None], mesh.faces[:, ::-1], mesh.faces)
    found = turned_outwards(replace(mesh, faces=faces, normals=vertex_normals(mesh.vertices, faces)), upper=True)
    corners, expected = found.vertices[found.faces], mesh.vertices[mesh.faces]
    assert np.array_equal(np.sort(found.faces, 1), np.sort(mesh.faces, 1))
    for turned, known in ((corners, expected),):
        normals = [np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0]) for c in (turned, known)]
        assert ((normals[0] * normals[1]).sum(1) >= 0).all()
    assert np.allclose(found.normals, mesh.normals)


@pytest.mark.parametrize(("view", "upper"), [("upper-occlusal", True), ("lower-occlusal", False)])
def test_a_scan_without_labels_faces_the_biting_side(view: View, upper: bool) -> None:
    mesh = outward(view)
    plain = replace(mesh, fdi=np.zeros_like(mesh.fdi))
    assert turned_outwards(plain, upper=upper) is plain
    inside_out = replace(plain, faces=plain.faces[:, ::-1])
    assert np.array_equal(turned_outwards(inside_out, upper=upper).faces, plain.faces)
