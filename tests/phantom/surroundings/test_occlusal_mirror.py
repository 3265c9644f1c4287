"""A mirror shows the world behind it, and before it stands what the photographer's own camera sees."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from dentgen.phantom.camera import Camera, View, sample_camera
from dentgen.phantom.mesh import Part, Tissue, join_parts
from dentgen.phantom.rays.mesh import RayMesh
from dentgen.phantom.scene import Scene
from dentgen.phantom.surroundings.framing import framed_camera
from dentgen.phantom.surroundings.mix import Framing
from dentgen.phantom.surroundings.occlusal_mirror import Plane, behind_mirror, build_occlusal_mirror, sample_plane
from dentgen.phantom.surroundings.solids import tube
from dentgen.seeding import numpy_generator
from tests.phantom.surroundings.patients import patient

SIZE = 96
VIEWS: tuple[View, ...] = ("upper-occlusal", "lower-occlusal")
FRAMINGS: tuple[Framing, ...] = ("clinical", "quadrant")


def traced(parts: list[Part], camera: Camera) -> Scene:
    mesh = join_parts(parts)
    return Scene(mesh, RayMesh(mesh.vertices, mesh.faces), camera, SIZE)


def test_a_plane_reflects_points_to_its_other_side() -> None:
    plane = Plane(np.array([0.0, 0.6, 0.8]), 2.0)
    points = numpy_generator("points").normal(0, 9, (20, 3))
    away = points @ plane.normal - plane.offset_mm
    reflected = plane.reflected(points)
    assert np.allclose(reflected @ plane.normal - plane.offset_mm, -away)
    assert np.allclose(plane.reflected(reflected), points)
    assert np.allclose(plane.turned(points[1] - points[0]), reflected[1] - reflected[0])
    eye = np.array([0.0, -30.0, 5.0])
    met = plane.met(eye, points - eye)
    assert np.allclose(met @ plane.normal, plane.offset_mm)
    assert np.allclose(np.cross(met - eye, points - eye), 0)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("number", [0, 1])
def test_in_the_mirror_and_beside_it_every_pixel_shows_what_light_would(view: View, number: int) -> None:
    """Oracles: the mouth alone from the scene's camera, and the same mouth from the reflected one."""
    rng = numpy_generator("mirror", view, number)
    mouth = patient().visible_parts(view)
    camera = sample_camera(view, patient().front_mm, rng)
    plane = sample_plane(mouth, camera, rng)
    framed = traced([*mouth, *build_occlusal_mirror(mouth, camera, plane, rng)], camera).trace_centres()
    behind = traced(mouth, camera).trace_centres()
    nearer = plane.offset_mm - framed.position @ plane.normal > 0.5  # on the camera's side of the glass
    tooth = framed.fdi > 0
    assert 0.02 < (tooth & nearer).mean() < 0.3, "front teeth are seen twice"
    assert (tooth & ~nearer).mean() > 0.05
    assert (framed.fdi[~nearer & tooth] == behind.fdi[~nearer & tooth]).all()
    eye = plane.reflected(camera.eye[None])[0]
    row, column = (np.mgrid[0:SIZE, 0:SIZE] + 0.5).reshape(2, -1)
    directions = camera.rays(column, row, SIZE)
    mesh = join_parts(mouth)
    face, _, _ = RayMesh(mesh.vertices, mesh.faces).first_hit(eye, np.stack([plane.turned(d) for d in directions]))
    own = np.where(face >= 0, mesh.fdi[np.maximum(face, 0)], 0)
    same = framed.fdi[tooth & nearer] == own[tooth & nearer]
    assert same.mean() > 0.99, "but for rays that graze an outline"


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_all_of_it_is_before_the_camera_and_reaches_beyond_the_picture(view: View, framing: Framing) -> None:
    for number in range(12):
        rng = numpy_generator("before", view, framing, number)
        mouth = patient().visible_parts(view)
        camera = framed_camera(framing, view, patient(), 0.0, rng)
        plane = sample_plane(mouth, camera, rng)
        rim, lips, *_ = build_occlusal_mirror(mouth, camera, plane, rng)
        for part in (rim, lips):
            assert (-(part.vertices - camera.eye) @ camera.axes[2]).min() > 30
        column, row = camera.project(lips.vertices[-120:], SIZE)
        assert np.hypot(column / SIZE - 0.5, row / SIZE - 0.5).min() > np.sqrt(0.5)


def test_the_mouth_itself_has_the_paint_of_its_mirror_image() -> None:
    rng = numpy_generator("paint")
    mouth = patient().visible_parts("lower-occlusal")
    camera = sample_camera("lower-occlusal", patient().front_mm, rng)
    plane = sample_plane(mouth, camera, rng)
    seen = traced([*mouth, *build_occlusal_mirror(mouth, camera, plane, rng)], camera).trace_centres()
    points = behind_mirror(seen, plane)
    moved = (points.position != seen.position).any(1)
    teeth = (seen.tissue == Tissue.TOOTH) & moved
    assert teeth.sum() > 50
    crowns = np.concatenate([part.vertices for part in mouth if part.fdi])
    assert cKDTree(crowns).query(points.position[teeth])[0].max() < 1
    assert (seen.position[moved] @ plane.normal < plane.offset_mm).all()
    assert np.isin(seen.tissue[moved], (Tissue.TOOTH, Tissue.GUM, Tissue.APPLIANCE)).all()
    assert (points.tissue == seen.tissue).all()


def test_the_rim_is_an_instrument_around_the_glass() -> None:
    rng = numpy_generator("rim")
    wire = tube(np.linspace([-20.0, 3, 0], [20, 3, 0], 9), np.full(9, 0.4), Tissue.APPLIANCE, 0.0)
    mouth = [*patient().visible_parts("upper-occlusal"), wire]  # whose winding alone tells what is outside
    camera = sample_camera("upper-occlusal", patient().front_mm, rng)
    plane = sample_plane(mouth, camera, rng)
    rim, lips, *direct = build_occlusal_mirror(mouth, camera, plane, rng)
    assert (rim.tissue, lips.tissue) == (Tissue.INSTRUMENT, Tissue.LIP)
    assert np.allclose(rim.vertices @ plane.normal, plane.offset_mm)
    assert {part.fdi for part in direct if part.fdi} == {part.fdi for part in mouth if part.fdi}
    assert all((part.vertices @ plane.normal < plane.offset_mm).all() for part in direct if part.fdi)
    normals = join_parts([*mouth]).normals
    reflected = join_parts(direct).normals
    teeth, ours = (
        np.concatenate([np.full(len(p.vertices), p.fdi > 0 or p.tissue is Tissue.APPLIANCE) for p in parts])
        for parts in (mouth, direct)
    )
    expected = normals[teeth] - 2 * (normals[teeth] @ plane.normal)[:, None] * plane.normal
    assert np.allclose(reflected[ours], expected, atol=1e-6), "nothing is inside out"
