"""Cameras: orthonormal axes, the field of view that they claim, and standing where the view's name says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dentgen.phantom.camera import VIEWS, Camera, View, sample_camera
from dentgen.seeding import numpy_generator

FRONT_MM = 25.0


def camera(view: View, number: int = 0, scale: float = 1.0) -> Camera:
    return sample_camera(view, FRONT_MM, numpy_generator("camera", number), scale)


@pytest.mark.parametrize("view", VIEWS)
def test_axes_are_orthonormal_and_right_handed(view: View) -> None:
    axes = camera(view).axes
    assert np.allclose(axes @ axes.T, np.eye(3))
    assert np.linalg.det(axes) == pytest.approx(1)


@pytest.mark.parametrize("view", VIEWS)
def test_rays_span_the_field_at_the_target(view: View) -> None:
    """Rays through the middles of left, right, upper and lower border meet the target's plane on its border."""
    shot = camera(view)
    centre, *borders = shot.rays(np.array([16.0, 0, 32, 16, 16]), np.array([16.0, 16, 16, 0, 32]), 32)
    assert np.allclose(centre, -shot.axes[2])
    for ray, axis, sign in zip(borders, (0, 0, 1, 1), (-1, 1, 1, -1), strict=True):
        at_target = ray * shot.distance_mm / -(ray @ shot.axes[2])
        assert at_target @ shot.axes[axis] == pytest.approx(sign * shot.width_mm / 2)
        assert np.linalg.norm(ray) == pytest.approx(1)


@pytest.mark.parametrize("bulge", [0.0, 0.15])
def test_projecting_is_the_inverse_of_rays(bulge: float) -> None:
    shot = replace(camera("left"), bulge=bulge)
    column, row = np.random.default_rng(0).uniform(-4, 36, (2, 50))
    points = shot.eye + shot.rays(column, row, 32) * np.linspace(100, 300, 50)[:, None]
    for found, expected in zip(shot.project(points, 32), (column, row), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_bulging_lens_sees_farther_at_its_border_and_the_same_in_the_middle() -> None:
    straight = camera("frontal")
    bulging = replace(straight, bulge=0.3)
    at = np.array([16.0, 32]), np.array([16.0, 16])
    (middle, edge), (middle_too, edge_too) = straight.rays(*at, 32), bulging.rays(*at, 32)
    np.testing.assert_allclose(middle, middle_too)

    def tangent(ray: np.ndarray) -> float:
        return float(ray @ straight.axes[0] / -(ray @ straight.axes[2]))

    assert tangent(edge_too) == pytest.approx(1.3 * tangent(edge))


def test_cameras_stand_on_the_side_that_the_view_names() -> None:
    for number in range(20):
        frontal, left, right, upper, lower = (camera(view, number) for view in VIEWS)
        assert abs(frontal.eye[0]) < 60 < frontal.eye[2]
        assert right.eye[0] < -50 < 50 < left.eye[0]
        assert upper.eye[1] < -100, "the upper arch is seen from below"
        assert lower.eye[1] > 100
        assert all(200 <= shot.distance_mm <= 320 for shot in (frontal, left, right, upper, lower))


def test_a_smaller_mouth_fills_the_picture_as_an_adult_s_does() -> None:
    assert camera("frontal", scale=0.8).width_mm == pytest.approx(0.8 * camera("frontal").width_mm)


def test_equal_streams_give_equal_cameras() -> None:
    assert (camera("left").eye == camera("left").eye).all()
    assert (camera("left").eye != camera("left", 1).eye).any()
