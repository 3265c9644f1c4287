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


def test_a_tooth_without_clear_evidence_stays_as_it_is() -> None:
    """A shallow bowl that faces outwards: its few triangles face its centre a little."""
    mesh = outward("upper-occlusal")
    across, along = np.meshgrid(np.linspace(-4, 4, 9), np.linspace(-4, 4, 9))
    bowl = np.stack([across, 0.02 * (across**2 + along**2), along], -1).reshape(-1, 3)
    corner = (np.arange(8)[:, None] * 9 + np.arange(8)).reshape(-1)
    faces = np.concatenate(
        [np.stack([corner, corner + 9, corner + 1], 1), np.stack([corner + 1, corner + 9, corner + 10], 1)]
    )
    labels, tissue = np.full(len(faces), 11, np.uint8), np.full(len(faces), mesh.tissue.max(), np.uint8)
    shell = Mesh(bowl, vertex_normals(bowl, faces), faces, tissue, labels, {})
    centres = bowl[faces].mean(1)
    normals = np.cross(bowl[faces[:, 1]] - bowl[faces[:, 0]], bowl[faces[:, 2]] - bowl[faces[:, 0]])
    assert ((centres - centres.mean(0)) * normals).sum() < 0, "the sign alone would turn it"
    assert turned_outwards(shell, upper=True) is shell


@pytest.mark.parametrize(("view", "upper"), [("upper-occlusal", True), ("lower-occlusal", False)])
def test_a_scan_without_labels_faces_the_biting_side(view: View, upper: bool) -> None:
    mesh = outward(view)
    plain = replace(mesh, fdi=np.zeros_like(mesh.fdi))
    assert turned_outwards(plain, upper=upper) is plain
    inside_out = replace(plain, faces=plain.faces[:, ::-1])
    assert np.array_equal(turned_outwards(inside_out, upper=upper).faces, plain.faces)
