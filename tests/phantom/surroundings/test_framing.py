"""Cameras look at the teeth that their framing names."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.camera import VIEWS, View
from dentgen.phantom.surroundings.framing import framed_camera
from dentgen.phantom.surroundings.mix import FRAMINGS, Framing
from dentgen.seeding import numpy_generator
from tests.phantom.surroundings.patients import patient

WIDTHS = {"close-up": (8, 50), "quadrant": (34, 50), "smile": (48, 80), "face": (84, 185), "clinical": (35, 90)}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_widths_and_axes(framing: Framing, view: View) -> None:
    for number in range(20):
        camera = framed_camera(framing, view, patient(), 3.0, numpy_generator("framing", number))
        low, high = WIDTHS[framing]
        assert low <= camera.width_mm <= high
        np.testing.assert_allclose(camera.axes @ camera.axes.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(camera.axes) == pytest.approx(1.0), "a mirrored camera would mirror labels"


@pytest.mark.parametrize("dentition", ["permanent", "deciduous"])
@pytest.mark.parametrize("view", VIEWS)
def test_near_cameras_have_a_tooth_near_their_target(view: View, dentition: Dentition) -> None:
    mouth = patient(1, dentition)
    slots = [slot for jaw in (mouth.upper, mouth.lower) for slot in jaw.teeth.slots]
    centres = np.stack([slot.vertices.mean(0) for slot in slots if slot.vertices is not None])
    for number in range(20):
        camera = framed_camera("close-up", view, mouth, 0.0, numpy_generator("near", number))
        target = camera.eye - camera.axes[2] * camera.distance_mm
        assert np.linalg.norm(centres - target, axis=1).min() < 0.75 * camera.width_mm


def test_close_ups_look_at_diseased_teeth_more_often() -> None:
    mouth = patient(1)
    ill = next(slot for slot in mouth.lower.teeth.slots if slot.form == 5 and slot.vertices is not None)
    assert ill.vertices is not None
    middle = ill.vertices.mean(0)

    def near(diseased: frozenset[int]) -> int:
        hits = 0
        for number in range(60):
            rng = numpy_generator("ill", number)
            camera = framed_camera("close-up", "lower-occlusal", mouth, 0.0, rng, diseased)
            target = camera.eye - camera.axes[2] * camera.distance_mm
            hits += bool(np.linalg.norm((target - middle)[[0, 2]]) < 0.5 * camera.width_mm)
        return hits

    assert near(frozenset({ill.fdi})) > near(frozenset()) + 10


def test_some_close_ups_are_by_a_wide_lens_near_the_teeth() -> None:
    cameras = [
        framed_camera("close-up", "left", patient(), 0.0, numpy_generator("lens", number)) for number in range(100)
    ]
    wide = [camera for camera in cameras if camera.bulge]
    assert 8 < len(wide) < 35
    assert all(camera.distance_mm <= 2.5 * camera.width_mm and camera.bulge <= 0.35 for camera in wide)
    assert all(camera.distance_mm >= 110 for camera in cameras if not camera.bulge)


def test_sides_are_seen_from_their_own_side() -> None:
    for view, sign in (("left", 1), ("right", -1)):
        for framing in ("close-up", "smile", "face"):
            camera = framed_camera(framing, view, patient(), 0.0, numpy_generator("side", framing))  # type: ignore[arg-type]
            assert sign * camera.axes[2][0] > 0
