"""The mouth around a scan: places on crowns and gum against the phantom's own, closed edges, and what surrounds it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from dentgen.ingest.scans.mouth import living, surroundings
from dentgen.phantom.camera import View, sample_camera
from dentgen.phantom.mesh import Mesh, Part, Tissue, join_parts
from dentgen.seeding import numpy_generator
from tests.ingest.scans.jaws import cast


def is_open_scan(part: Part) -> bool:
    """Whether a part of a cast is what a scanner sees: teeth and gum, no base."""
    return bool(part.fdi) or bool("margin_mm" in part.attributes and np.ptp(part.attributes["margin_mm"]) > 0)


@cache
def truth(view: View) -> Mesh:
    """A phantom's teeth and gum with its own attributes."""
    return join_parts([part for part in cast(view) if is_open_scan(part)])


@cache
def scan(view: View) -> Mesh:
    """The same as a scanner gives it: without attributes."""
    mesh = truth(view)
    empty = {name: np.zeros(len(mesh.vertices)) for name in mesh.attributes}
    return Mesh(mesh.vertices, mesh.normals, mesh.faces, mesh.tissue, mesh.fdi, empty)


@cache
def alive(view: View) -> Mesh:
    return living(scan(view))


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first, second)[0, 1])


@pytest.mark.parametrize("name", ["height", "mesial", "outward"])
@pytest.mark.parametrize("view", ["upper-occlusal", "lower-occlusal"])
def test_places_on_crowns_follow_the_phantoms_own(view: View, name: str) -> None:
    found, known = alive(view), truth(view)
    for number in np.unique(known.fdi[known.fdi > 0]):
        own = np.unique(known.faces[known.fdi == number])
        crown = own[known.attributes["height"][own] > 0.1]  # roots are no part of a crown's form
        assert correlation(found.attributes[name][crown], known.attributes[name][crown]) > 0.7, number


def test_edges_are_those_of_front_teeth() -> None:
    found = alive("upper-occlusal")
    edged = {int(n) for n in np.unique(found.fdi[found.attributes["edge"][found.faces].all(1)])}
    assert edged
    assert all(number % 10 <= 3 for number in edged)


def test_distance_from_the_margin_follows_the_phantoms_own() -> None:
    found, known = alive("upper-occlusal"), truth("upper-occlusal")
    gum = np.unique(known.faces[known.fdi == 0])
    outside = gum[(known.attributes["buccal"][gum] > 0.5) & (known.attributes["margin_mm"][gum] > 0)]
    assert correlation(found.attributes["margin_mm"][outside], known.attributes["margin_mm"][outside]) > 0.8
    assert (found.attributes["buccal"][outside] > 0.5).mean() > 0.95


def test_palate_is_inside_the_upper_arch_alone() -> None:
    upper, lower = alive("upper-occlusal"), alive("lower-occlusal")
    assert not (lower.tissue == Tissue.PALATE).any()
    palate = upper.tissue == Tissue.PALATE
    assert palate.any()
    centres = upper.vertices[upper.faces].mean(1)
    teeth = centres[upper.fdi > 0]
    assert np.abs(centres[palate, 0]).max() < np.abs(teeth[:, 0]).max()
    assert centres[palate, 2].max() < teeth[:, 2].max()


@pytest.mark.parametrize("view", ["frontal", "lower-occlusal"])
def test_open_edges_are_continued_towards_the_roots(view: View) -> None:
    before, after = scan(view), alive(view)
    added = after.faces[len(before.faces) :]
    assert len(added)
    assert (after.tissue[len(before.faces) :] == Tissue.GUM).all()
    assert not after.fdi[len(before.faces) :].any()
    gum = np.unique(before.faces[before.fdi == 0])
    border, reach = (np.abs(mesh.vertices[of, 1]).max() for mesh, of in ((before, gum), (after, np.unique(added))))
    assert reach == pytest.approx(border + 16)
    assert np.array_equal(after.faces[: len(before.faces)], before.faces)
    assert np.array_equal(after.fdi[: len(before.faces)], before.fdi)


def test_a_closed_mesh_needs_no_skirt() -> None:
    """Two tetrahedra that are tooth and gum."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]], float)
    faces = np.array([[0, 1, 2], [0, 1, 3], [1, 2, 3], [0, 2, 3]])
    vertices, both = np.concatenate([corners, corners + np.array([0, 5, 0])]), np.concatenate([faces, faces + 4])
    labels = np.repeat(np.array([11, 0], np.uint8), 4)
    tissue = np.where(labels > 0, Tissue.TOOTH, Tissue.GUM).astype(np.uint8)
    empty = {name: np.zeros(8) for name in scan("frontal").attributes}
    assert len(living(Mesh(vertices, np.ones_like(vertices), both, tissue, labels, empty)).faces) == 8


@pytest.mark.parametrize("view", ["frontal", "upper-occlusal", "lower-occlusal"])
def test_surroundings_are_those_of_the_view(view: View) -> None:
    mesh = alive(view)
    camera = sample_camera(view, float(mesh.vertices[:, 2].max()), numpy_generator("camera", view))
    found = surroundings(mesh, camera, "group", 0)
    expected = {Tissue.LIP, Tissue.PALATE, Tissue.TONGUE, Tissue.MUCOSA}
    if view == "upper-occlusal":
        expected.discard(Tissue.TONGUE)
    elif view == "lower-occlusal":
        expected.discard(Tissue.PALATE)
    assert {Tissue(int(value)) for value in np.unique(found.tissue)} == expected
    assert not found.fdi.any()


def test_vertices_that_no_face_uses_cover_no_palate() -> None:
    mesh = alive("upper-occlusal")
    camera = sample_camera("upper-occlusal", float(mesh.vertices[:, 2].max()), numpy_generator("camera"))
    teeth = mesh.vertices[np.unique(mesh.faces[mesh.fdi > 0])]
    unused = np.tile([teeth[:, 0].mean(), 0.0, teeth[:, 2].min()], (100, 1))
    more = Mesh(
        np.concatenate([mesh.vertices, unused]), np.concatenate([mesh.normals, np.ones((100, 3))]),
        mesh.faces, mesh.tissue, mesh.fdi,
        {name: np.concatenate([values, np.zeros(100)]) for name, values in mesh.attributes.items()},
    )  # fmt: skip
    plain, found = (surroundings(each, camera, "group", 0) for each in (mesh, more))
    assert (found.tissue == Tissue.PALATE).any()
    assert np.array_equal(found.vertices, plain.vertices)
    assert np.array_equal(found.tissue, plain.tissue)


def test_the_mouth_follows_a_lowered_jaw() -> None:
    mesh, down = alive("lower-occlusal"), np.array([0.0, -20.0, 0.0])
    camera = sample_camera("lower-occlusal", float(mesh.vertices[:, 2].max()), numpy_generator("camera"))
    lowered = replace(mesh, vertices=mesh.vertices + down)
    closed, opened = (surroundings(each, camera, "group", 0) for each in (mesh, lowered))
    inside = np.unique(closed.faces[closed.tissue != Tissue.LIP])
    assert np.allclose(opened.vertices[inside], closed.vertices[inside] + down)
