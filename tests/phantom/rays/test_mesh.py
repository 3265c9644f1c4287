"""What rays, meshes and noise of a mouth must keep whatever is shared between pictures."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from dentgen.phantom.camera import Camera
from dentgen.phantom.mesh import ATTRIBUTES, Part, Tissue, grid_faces, join_meshes, join_parts
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.rays.grid import GridRayMesh
from dentgen.phantom.rays.mesh import Accelerator, RayMesh
from dentgen.phantom.scene import Scene, Surface
from dentgen.seeding import numpy_generator

CAMERA = Camera("frontal", np.eye(3), np.array([0.0, 0.0, 100.0]), 100.0, 10.0)


def plate(depth: float, half: float, tissue: Tissue, fdi: int = 0) -> Part:
    """A square facing the camera at z = -depth."""
    y, x = np.meshgrid(np.linspace(-half, half, 30), np.linspace(-half, half, 30), indexing="ij")
    vertices = np.stack([x, y, np.full_like(x, -depth)], -1).reshape(-1, 3)
    return Part(vertices, grid_faces(30, 30), tissue, fdi, {"height": x.reshape(-1)}, facing=np.array([0.0, 0.0, 1.0]))


def _accelerators() -> list[type[Accelerator]]:
    return list(dict.fromkeys([RayMesh.accelerator, GridRayMesh]))


@pytest.fixture(autouse=True, params=_accelerators())
def _accelerator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rays keep their word with and without Embree."""
    monkeypatch.setattr(RayMesh, "accelerator", request.param)


def traced(*parts: Part) -> Surface:
    mesh = join_parts(list(parts))
    return Scene(mesh, RayMesh(mesh.vertices, mesh.faces), CAMERA, 32).trace_centres()


def test_meshes_join_as_their_parts_do() -> None:
    parts = [plate(0, 2, Tissue.TOOTH, 11), plate(3, 9, Tissue.GUM), plate(5, 20, Tissue.LIP)]
    at_once, in_turn = join_parts(parts), join_meshes([join_parts(parts[:2]), join_parts(parts[2:])])
    for name in ("vertices", "normals", "faces", "tissue", "fdi"):
        assert (getattr(at_once, name) == getattr(in_turn, name)).all(), name
    for name in ATTRIBUTES:
        assert (at_once.attributes[name] == in_turn.attributes[name]).all(), name


def test_rays_meet_the_nearest_part_where_it_is() -> None:
    surface = traced(plate(3, 9, Tissue.GUM), plate(0, 2, Tissue.TOOTH, 11))
    tooth = surface.tissue == Tissue.TOOTH
    assert (surface.fdi == np.where(tooth, 11, 0)).all()
    assert np.allclose(surface.depth_mm, np.where(tooth, 100, 103), atol=1e-4)
    assert np.allclose(surface.attributes["height"], surface.position[:, 0], atol=1e-4)
    assert 0.1 < tooth.mean() < 0.25
    assert surface.hit.all()


@pytest.mark.parametrize(("gap", "darkens"), [(5.0, True), (13.0, True), (14.5, False), (40.0, False)])
def test_occlusion_ends_at_its_reach(gap: float, darkens: bool) -> None:
    """A roof shades the floor below it up to 14 mm away, and the rays' own limit never shows."""
    floor = plate(20, 8, Tissue.GUM)
    roof = plate(20 - gap, 60, Tissue.LIP)
    mesh = join_parts([floor, roof])
    # the camera must look under the roof: it traces the floor alone, occlusion sees both
    scene = Scene(mesh, _Under(mesh.vertices, mesh.faces, len(floor.faces)), CAMERA, 32)
    assert (scene.trace_centres().occlusion.min() < 0.999) == darkens


class _Under(RayMesh):
    """Rays of a camera that stands below the roof."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, count: int) -> None:
        super().__init__(vertices, faces)
        self._floor = RayMesh(vertices, faces[:count])

    def first_hit(self, origin: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self._floor.first_hit(origin, direction)


def test_noise_is_the_smooth_mean_of_its_cell() -> None:
    """Written out point by point, with the lattice drawn again."""
    lattice = numpy_generator("noise").random(32**3).astype(np.float32).reshape(32, 32, 32)
    points = numpy_generator("points").normal(0, 40, (50, 3))
    found = LatticeNoise(numpy_generator("noise"))(points, 0.7)
    for point, value in zip(points, found, strict=True):
        cell = np.floor(point * 0.7).astype(int)
        weight = point * 0.7 - cell
        weight = weight**2 * (3 - 2 * weight)
        mean = sum(
            lattice[tuple((cell + end) % 32)] * np.prod(np.where(end, weight, 1 - weight))
            for end in product((0, 1), repeat=3)
        )
        assert value == pytest.approx(2 * mean - 1, abs=1e-4)
