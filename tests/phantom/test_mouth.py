"""Soft tissue lies where it hides nothing that a view must show, and leaves no hole to look through."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.anatomy import Arch, FloatArray
from dentgen.phantom.camera import VIEWS, View, sample_camera
from dentgen.phantom.gum import build_gum
from dentgen.phantom.mesh import Part, Tissue, oriented_normals
from dentgen.phantom.mouth import build_cheeks, build_floor, build_lips, build_palate, build_tongue
from dentgen.seeding import numpy_generator
from tests.phantom.surfaces import posed_teeth, shape


def edge_of(arch: Arch) -> tuple[FloatArray, FloatArray]:
    """Lingual edge of an arch's gum, and its rootward direction."""
    teeth = posed_teeth(arch)
    return build_gum(teeth, shape(), numpy_generator("gum")).lingual_edge, teeth.rootwards


def test_the_palate_is_a_dome_over_the_gum_s_edge_that_faces_the_mouth() -> None:
    edge, rootwards = edge_of("upper")
    palate = build_palate(edge, rootwards, numpy_generator("palate"))
    height = palate.vertices @ rootwards - (edge @ rootwards).mean()
    assert 5 < height.max() < 16
    assert (oriented_normals(palate) @ rootwards < 0).mean() > 0.9
    inside = np.abs(palate.vertices[:, 0]) <= np.abs(edge[:, 0]).max() + 1e-9
    assert inside.all()


def test_palate_and_floor_are_sewn_to_both_halves_of_the_edge() -> None:
    """Their first and last row are the two halves of the gum's edge, so no ray passes between them."""
    upper, lower = edge_of("upper"), edge_of("lower")
    palate, floor = build_palate(*upper, numpy_generator("palate")), build_floor(*lower)
    for part, (edge, _) in ((palate, upper), (floor, lower)):
        sheet = part.vertices.reshape(37, -1, 3)
        half = len(edge) // 2
        away = np.array([1.0, 0.0, 1.0])  # papilla and rugae lift the middle of the palate, not its ends
        assert np.allclose(sheet[0] * away, edge[: half + 1] * away)
        assert np.allclose(sheet[-1] * away, edge[::-1][: half + 1] * away)


def test_the_tongue_lies_behind_and_between_the_lower_teeth() -> None:
    edge, rootwards = edge_of("lower")
    tongue = build_tongue(edge, 60.0, rootwards, numpy_generator("tongue"))
    assert tongue.tissue == Tissue.TONGUE
    assert tongue.vertices[:, 2].max() <= edge[:, 2].max() - 7
    assert np.abs(tongue.vertices[:, 0]).max() <= 0.36 * 60
    assert tongue.vertices[:, 1].max() < 0, "it stays below the occlusal plane"


@pytest.mark.parametrize(("arch", "up"), [("upper", 1.0), ("lower", -1.0)])
def test_cheeks_lie_behind_the_arch_and_face_the_camera(arch: Arch, up: float) -> None:
    cheeks = build_cheeks(arch, 25.0, np.array([0.0, up, 0.0]), numpy_generator("cheeks"))
    assert (cheeks.vertices[:, 1] * up > 2).all()
    assert (oriented_normals(cheeks)[:, 1] * up < 0).mean() > 0.9


def in_picture(part: Part, view: View) -> tuple[FloatArray, FloatArray]:
    """Coordinates right and up of a lip's vertices in half field widths, seen from the camera."""
    camera = sample_camera(view, 25.0, numpy_generator("camera"))
    local = (part.vertices - camera.eye) @ camera.axes.T
    half = camera.width_mm / 2 / camera.distance_mm
    return local[:, 0] / -local[:, 2] / half, local[:, 1] / -local[:, 2] / half


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("number", range(5))
def test_lips_leave_the_middle_open_and_cover_the_corners(view: View, number: int) -> None:
    camera = sample_camera(view, 25.0, numpy_generator("camera"))
    right, up = in_picture(build_lips(camera, numpy_generator("lips", number)), view)
    assert np.hypot(right, up).min() > 0.3
    assert (np.abs(right) > 1).any()
    assert (np.abs(up) > 1).any()
    assert len({(a > 0, b > 0) for a, b in zip(right, up, strict=True) if np.hypot(a, b) > 1.3}) == 4
