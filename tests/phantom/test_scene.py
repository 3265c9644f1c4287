"""Traced scenes: nearest hits, occlusion up to its reach, curvature of a ball; with and without Embree."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.mesh import Tissue, join_parts
from dentgen.phantom.rays.grid import GridRayMesh
from dentgen.phantom.rays.mesh import RayMesh
from dentgen.phantom.scene import Scene
from tests.phantom.solids import ball, plate, scene
from tests.phantom.surfaces import CAMERA


@pytest.fixture(autouse=True, params=list(dict.fromkeys([RayMesh.accelerator, GridRayMesh])))
def _accelerator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RayMesh, "accelerator", request.param)


def test_rays_hit_the_nearest_part_where_it_is() -> None:
    surface = scene(plate(3, 9, Tissue.GUM), plate(0, 2, Tissue.TOOTH, 11)).trace_centres()
    tooth = surface.tissue == Tissue.TOOTH
    assert (surface.fdi == np.where(tooth, 11, 0)).all()
    assert np.allclose(surface.depth_mm, np.where(tooth, 100, 103), atol=1e-4)
    assert np.allclose(surface.attributes["height"], surface.position[:, 0], atol=1e-4)
    assert 0.1 < tooth.mean() < 0.25
    assert surface.hit.all()


def test_misses_have_no_label() -> None:
    surface = scene(plate(0, 2, Tissue.TOOTH, 11)).trace_centres()
    assert 0 < surface.hit.mean() < 1
    assert not surface.tissue[~surface.hit].any()
    assert not surface.fdi[~surface.hit].any()


def test_nothing_is_hit_outside_the_visible_part() -> None:
    visible = np.zeros((16, 16), bool)
    visible[4:10, 6:] = True
    whole = scene(plate(3, 9, Tissue.GUM), size=16)
    part = Scene(whole.mesh, RayMesh(whole.mesh.vertices, whole.mesh.faces), CAMERA, 16, visible)
    assert (part.trace_centres().hit == visible.ravel()).all()
    row, column = np.mgrid[0:16, 0:16].reshape(2, -1) + 0.3
    assert (part.trace(column, row).hit == visible.ravel()).all()
    assert part.trace(np.array([-0.2, 16.2]), np.array([5.0, 5.0])).hit.tolist() == [False, True]


def test_traces_through_pixel_centres_equal_those_of_all_centres() -> None:
    seen = scene(plate(3, 9, Tissue.GUM), plate(0, 2, Tissue.TOOTH, 11), size=16)
    row, column = np.mgrid[0:16, 0:16].reshape(2, -1) + 0.5
    assert (seen.trace(column, row).position == seen.trace_centres().position).all()


@pytest.mark.parametrize(("gap", "darkens"), [(5.0, True), (13.0, True), (14.5, False), (40.0, False)])
def test_occlusion_ends_at_its_reach(gap: float, darkens: bool) -> None:
    """A roof occludes the floor below it up to 14 mm away; the limit of the rays must not show."""
    floor = plate(20, 8, Tissue.GUM)
    roof = plate(20 - gap, 60, Tissue.LIP)
    mesh = join_parts([floor, roof])
    # the camera must look under the roof: it traces the floor alone, occlusion sees both
    under = Scene(mesh, _Under(mesh.vertices, mesh.faces, len(floor.faces)), CAMERA, 32)
    assert (under.trace_centres().occlusion.min() < 0.999) == darkens


class _Under(RayMesh):
    """Rays of a camera below the roof."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, count: int) -> None:
        super().__init__(vertices, faces)
        self._floor = RayMesh(vertices, faces[:count])

    def first_hit(self, origin: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self._floor.first_hit(origin, direction)


@pytest.mark.parametrize("radius", [2.0, 4.0])
def test_curvature_of_a_ball_is_the_inverse_of_its_radius(radius: float) -> None:
    surface = scene(ball(radius)).trace_centres()
    front = surface.hit & (surface.normal[:, 2] > 0.7)
    assert surface.curvature[front] == pytest.approx(1 / radius, rel=0.05)


def test_normals_face_the_viewer_and_are_the_radii_of_a_ball() -> None:
    surface = scene(ball(4.0)).trace_centres()
    inner = surface.hit & (surface.normal[:, 2] > 0.3)
    assert np.allclose(surface.normal[inner], surface.position[inner] / 4, atol=0.02)
    assert ((surface.normal * surface.direction).sum(1)[surface.hit] <= 0).all()
