"""The numpy grid against brute force, against Embree, and in a process without Embree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import maximum_filter, minimum_filter

from dentgen.phantom.arch import build_arch
from dentgen.phantom.gum import build_gum
from dentgen.phantom.rays import grid
from dentgen.phantom.rays.grid import GridRayMesh
from dentgen.phantom.rays.mesh import RayMesh
from dentgen.phantom.render import Phantom, render_patient
from dentgen.phantom.shards import PARAMETERS
from dentgen.phantom.style import sample_shape
from dentgen.seeding import numpy_generator
from tests.conftest import ROOT
from tests.phantom.rays.oracle import brute_force, sheet, soup, unit


@pytest.mark.parametrize("seed", range(3))
def test_distances_equal_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices, faces = soup(rng)
    origin = rng.uniform(-0.4, 1.4, (1500, 3)) * [24, 9, 15]  # inside and outside the box
    direction = unit(rng.normal(0, 1, (1500, 3)))
    direction[:60] = np.eye(3)[rng.integers(0, 3, 60)] * rng.choice([-1, 1], (60, 1))
    direction[60:120, rng.integers(0, 3)] = 0.0
    direction[100:120, 1] = 1e-320
    direction[120:180] *= 2.5  # distances are in units of the direction's length
    expected = brute_force(vertices, faces, origin, direction)
    assert 0.2 < (expected.face >= 0).mean() < 0.9

    mesh = GridRayMesh(vertices, faces)
    found = mesh.distance(origin, direction, 1e37)
    assert np.allclose(found, np.where(expected.face >= 0, expected.distance, 1e37), rtol=1e-9, atol=1e-9)
    for limit in (0.8, 7.0):
        assert np.allclose(mesh.distance(origin, direction, limit), np.minimum(expected.distance, limit), atol=1e-9)


@pytest.mark.parametrize("eye", [(12.0, 4.0, 8.0), (10.0, 3.0, 260.0), (-40.0, 4.5, 7.5)])
def test_first_hits_equal_brute_force(eye: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(8)
    vertices, faces = soup(rng)
    direction = unit(rng.uniform(-0.2, 1.2, (1500, 3)) * [24, 9, 15] - eye)
    expected = brute_force(vertices, faces, np.broadcast_to(eye, direction.shape), direction)
    face, u, v = GridRayMesh(vertices, faces).first_hit(np.array(eye), direction)
    assert (face == expected.face).all()
    assert (face >= 0).sum() > 300
    assert np.allclose(u, expected.u, atol=1e-7)
    assert np.allclose(v, expected.v, atol=1e-7)


def test_u_weights_the_second_vertex_and_v_the_third() -> None:
    vertices = np.array([[0.0, 0, 0], [4, 0, 0], [0, 4, 0]])
    for eye in (9.0, -9.0):  # from both sides
        _, u, v = GridRayMesh(vertices, np.array([[0, 1, 2]])).first_hit(
            np.array([1.0, 2.0, eye]), np.array([[0.0, 0.0, -np.sign(eye)]])
        )
        assert (u[0], v[0]) == pytest.approx((0.25, 0.5))


def test_shared_edges_have_no_cracks() -> None:
    """Rays aimed at inner vertices, at points on edges and along cell borders all hit the sheet."""
    vertices, faces = sheet()
    mesh = GridRayMesh(vertices, faces)
    inner = vertices[(np.abs(vertices[:, :2]) < 9.9).all(1)]
    share = np.random.default_rng(0).uniform(0, 1, (len(faces), 1))
    ends = vertices[faces]
    edges = np.concatenate([ends[:, i] * share + ends[:, (i + 1) % 3] * (1 - share) for i in range(3)])
    edges = edges[(np.abs(edges[:, :2]) < 9.9).all(1)]
    for target in (inner, edges):
        for eye in ([0.0, 0.0, 250.0], [3.0, -2.0, -30.0], [0.1, 0.2, 40.0]):
            direction = unit(target - eye)
            face, _, _ = mesh.first_hit(np.array(eye), direction)
            assert (face >= 0).all()
            reached = mesh.distance(np.broadcast_to(eye, target.shape), direction, 1e37)
            assert (reached <= np.linalg.norm(target - eye, axis=1) + 1e-9).all()
    grid = mesh._grid
    x, y = (grid.low[axis] + grid.cell_mm * np.arange(2, grid.shape[axis] - 1) for axis in (0, 1))
    above = np.array([(column, row, 60.0) for column in x for row in y])
    down = np.broadcast_to([0.0, 0.0, -1.0], above.shape)
    assert len(above) > 300
    assert (mesh.distance(above, down, 1e37) < 70).all(), "along the edges where four cells meet"
    above[:, 0] += 0.3
    assert (mesh.distance(above, down, 1e37) < 70).all(), "along the wall between two cells"


def test_hits_do_not_depend_on_the_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    mesh = GridRayMesh(*soup(rng))
    origin, direction = rng.uniform(0, 1, (700, 3)) * [24, 9, 15], unit(rng.normal(0, 1, (700, 3)))
    at_once = mesh._trace(origin, direction, 9.0)
    monkeypatch.setattr(grid, "_BLOCK", 64)
    monkeypatch.setattr(grid, "_PAIRS", 20)
    in_turn = mesh._trace(origin, direction, 9.0)
    for name in ("face", "distance", "u", "v"):
        assert (getattr(at_once, name) == getattr(in_turn, name)).all(), name


def test_needles_are_never_hit() -> None:
    """Corners are collinear up to rounding, so the normal of such a triangle would be arbitrary."""
    rng = np.random.default_rng(2)
    start, along = rng.uniform(-9, 9, (500, 1, 3)), rng.normal(0, 1, (500, 1, 3))
    corners = start + along * rng.uniform(0, 2, (500, 3, 1))
    eye = np.array([0.0, 0.0, 70.0])
    targets = corners[:, 0] * 0.4 + corners[:, 1] * 0.6
    face, _, _ = GridRayMesh(corners.reshape(-1, 3), np.arange(1500).reshape(-1, 3)).first_hit(eye, unit(targets - eye))
    assert (face == -1).all()


@pytest.mark.filterwarnings("error")
def test_degenerate_triangles_are_never_hit() -> None:
    """Points, needles and triangles with NaN or infinite corners neither stop a ray nor disturb other triangles."""
    needle, point = [[0.0, 0, 2], [1, 1, 2], [3, 3, 2]], [[0.5, 0.5, 3.0]] * 3
    lost = [[np.nan, 0, 4], [1, 0, 4], [0, 1, 4]], [[np.inf, 0, 5], [1, 0, 5], [0, 1, 5]]
    vertices = np.array([*needle, *point, *lost[0], *lost[1], [-5.0, -5, 0], [9, -5, 0], [-5, 9, 0]])
    faces = np.arange(15).reshape(-1, 3)
    origin = np.repeat([[0.5, 0.5, 9.0]], 4, 0)
    direction = np.array([[0.0, 0, -1], [0, 0, 0], [np.nan, 0, -1], [0, 0, -np.inf]])
    face, _, _ = GridRayMesh(vertices, faces).first_hit(origin[0], direction)
    assert face.tolist() == [4, -1, -1, -1]
    assert GridRayMesh(vertices, faces).distance(origin, direction, 50.0).tolist() == [9.0, 50.0, 50.0, 50.0]
    for none in (faces[:4], faces[:0]):
        assert GridRayMesh(vertices, none).distance(origin, direction, 50.0).tolist() == [50.0] * 4
    assert GridRayMesh(vertices, faces).distance(origin[:0], direction[:0], 50.0).shape == (0,)


def use_embree(monkeypatch: pytest.MonkeyPatch) -> None:
    embree = pytest.importorskip("dentgen.phantom.rays.embree", exc_type=ImportError)
    monkeypatch.setattr(RayMesh, "accelerator", embree.EmbreeRayMesh)


@pytest.mark.slow
@pytest.mark.parametrize("view", ["frontal", "upper-occlusal"])
def test_maps_equal_embree_s_up_to_outlines(view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Label maps differ only on outlines, the other maps elsewhere only by rounding."""
    use_embree(monkeypatch)
    (expected,) = render_patient(3, 8, 64, (view,))  # type: ignore[arg-type]
    monkeypatch.setattr(RayMesh, "accelerator", GridRayMesh)
    (found,) = render_patient(3, 8, 64, (view,))  # type: ignore[arg-type]
    outline = outlines(expected)
    for name in ("seg", "fdi"):
        differs = found.maps[name] != expected.maps[name]
        assert differs.mean() < 0.005, name
        assert not (differs & ~outline).any(), name
    for name, levels in (("depth", 60), ("normal", 2), ("curvature", 4), ("light", 3)):
        gap = np.abs(found.maps[name].astype(int) - expected.maps[name])
        gap = gap.reshape(64, 64, -1).max(-1)
        assert (gap > levels).mean() < 0.005, name
    assert np.abs(found.picture.astype(int) - expected.picture).mean() < 0.5


def outlines(phantom: Phantom) -> np.ndarray:
    """Pixels next to one with another label."""
    labels = phantom.maps["fdi"].astype(int) * 8 + phantom.maps["seg"]
    return maximum_filter(labels, 3) != minimum_filter(labels, 3)


@pytest.mark.parametrize("arch", ["upper", "lower"])
def test_gum_equals_that_of_embree(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = sample_shape(numpy_generator("test", 1))
    teeth = build_arch(arch, shape, None, numpy_generator("test", 2))  # type: ignore[arg-type]
    use_embree(monkeypatch)
    expected = build_gum(teeth, shape, numpy_generator("gum"))
    monkeypatch.setattr(RayMesh, "accelerator", GridRayMesh)
    found = build_gum(teeth, shape, numpy_generator("gum"))
    assert np.abs(found.part.vertices - expected.part.vertices).max() < 0.01


@pytest.mark.slow
def test_a_process_without_embree_renders_phantoms(tmp_path: Path) -> None:
    """As on a platform without an embreex wheel; worker processes included."""
    (tmp_path / "site" / "embreex").mkdir(parents=True)
    (tmp_path / "site" / "embreex" / "__init__.py").write_text('raise ModuleNotFoundError("No module named embreex")')
    run = subprocess.run(
        [sys.executable, "-m", "dentgen", "phantom", str(tmp_path / "out"), "--count", "1", "--size", "32"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert json.loads((tmp_path / "out" / PARAMETERS).read_text())["rays"] == "grid"
    assert list((tmp_path / "out").glob("*.tar"))
