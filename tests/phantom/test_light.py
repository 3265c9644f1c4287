"""Lighting set-ups: kinds, falloff, neutral light for scan models."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.light import LIGHT_KINDS, Lamp, neutral, sample_lighting, sample_lightings
from dentgen.seeding import numpy_generator
from tests.phantom.surfaces import CAMERA, lit_by


def test_no_kind_repeats_before_all_kinds_were_drawn() -> None:
    for patient in range(20):
        kinds = [light.kind for light in sample_lightings(numpy_generator("relit", patient, n) for n in range(13))]
        assert set(kinds[:6]) == set(kinds[6:12]) == set(LIGHT_KINDS)
        assert kinds[0] == sample_lighting(numpy_generator("relit", patient, 0)).kind


def test_excluded_kinds_are_never_drawn() -> None:
    kinds = {sample_lighting(numpy_generator("without", n), {"harsh", "ring"}).kind for n in range(200)}
    assert kinds == set(LIGHT_KINDS) - {"harsh", "ring"}


def test_light_falls_off_with_the_inverse_square_of_the_distance() -> None:
    """A lamp at the lens, points 100 and 200 mm in front of it; strength is given at 260 mm."""
    lamp = Lamp(np.zeros(3), np.array([1.0, 0.5, 0.25]), 0.02)
    points = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, -100.0]])
    ((towards, arriving, found),) = lit_by(lamp).arriving(points, CAMERA)
    assert found is lamp
    assert np.allclose(towards, [0.0, 0.0, 1.0])
    assert np.allclose(arriving, lamp.strength * np.array([[260 / 100], [260 / 200]]) ** 2)


def test_lamps_move_with_the_camera() -> None:
    lamp = Lamp(np.array([100.0, 0.0, 0.0]), np.ones(3), 0.02)
    ((towards, _, _),) = lit_by(lamp).arriving(np.zeros((1, 3)), CAMERA)
    assert np.allclose(towards, np.array([[1.0, 0.0, 1.0]]) / np.sqrt(2))


def test_lamps_share_the_total_strength_of_their_kind() -> None:
    """Harsh light has one lamp far off the axis, ring light six close to it."""
    drawn = {light.kind: light for light in (sample_lighting(numpy_generator("kinds", n)) for n in range(100))}
    assert set(drawn) == set(LIGHT_KINDS)
    assert len(drawn["ring"].lamps) == 6
    assert all(np.linalg.norm(lamp.position) == pytest.approx(45) for lamp in drawn["ring"].lamps)
    (harsh,) = drawn["harsh"].lamps
    assert np.linalg.norm(harsh.position) >= 260
    total = sum(lamp.strength[0] for lamp in drawn["ring"].lamps)
    assert total == pytest.approx(0.82, rel=0.1)


def test_the_light_of_a_scan_is_neutral() -> None:
    lighting = neutral(sample_lighting(numpy_generator("neutral")))
    assert all(np.ptp(lamp.strength) == 0 < lamp.strength.min() for lamp in lighting.lamps)
    assert np.ptp(lighting.ambient) == 0
    assert not lighting.surround.any(), "misses must add nothing to the model's edges"
    assert lighting.vignette == lighting.fading == 0
