"""Series of phantoms: one mouth, a path that closes, and a motion that leads every pixel to its point in frame 0."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from dentgen.phantom.camera import Camera, sample_camera
from dentgen.phantom.light import sample_lighting
from dentgen.phantom.render import Phantom, render_patient, render_series
from dentgen.phantom.series import Series, orbit, sample_swinging, standing, swing
from dentgen.records import Frame
from dentgen.seeding import numpy_generator

SIZE, FRAMES = 64, 8
ORBIT, LIGHT = Series("orbit", FRAMES), Series("light", FRAMES)


@lru_cache
def rendered(series: Series, start: int = 0, stop: int = 4) -> tuple[Phantom, ...]:
    """Frames of patient 5, whose turn it is to be seen from the front."""
    return tuple(render_series(3, 5, SIZE, series, range(start, stop)))


def camera() -> Camera:
    return sample_camera("frontal", 25.0, numpy_generator("camera"))


def test_an_orbit_is_closed_begins_where_a_single_picture_is_taken_and_keeps_its_target() -> None:
    first = camera()
    target = first.eye - first.axes[2] * first.distance_mm
    for number in (0, FRAMES):
        moved = orbit(first, number, FRAMES)
        assert np.allclose(moved.axes, first.axes)
        assert np.allclose(moved.eye, first.eye)
    for number in range(FRAMES):
        moved = orbit(first, number, FRAMES)
        assert np.allclose(moved.axes @ moved.axes.T, np.eye(3))
        assert np.linalg.det(moved.axes) == pytest.approx(1)
        assert np.allclose(moved.eye - moved.axes[2] * moved.distance_mm, target)
    angle = np.degrees(np.arccos(orbit(first, FRAMES // 4, FRAMES).axes[2] @ first.axes[2]))
    assert angle == pytest.approx(8)


def test_lamps_that_stand_still_light_a_point_from_the_same_place() -> None:
    first, lighting = camera(), sample_lighting(numpy_generator("light"))
    moved = orbit(first, 2, FRAMES)
    there = standing(lighting, first, moved)
    point = np.zeros((1, 3))
    for one, other in zip(lighting.arriving(point, first), there.arriving(point, moved), strict=True):
        assert np.allclose(one[0], other[0])
        assert np.allclose(one[1], other[1])


def test_lamps_swing_to_both_sides_at_the_same_distance() -> None:
    lighting = sample_swinging(numpy_generator("light"))
    assert lighting.kind in {"side", "harsh"}
    first = lighting.lamps[0].position
    left, right = (swing(lighting, n, FRAMES).lamps[0].position for n in (FRAMES // 4, 3 * FRAMES // 4))
    assert np.allclose(swing(lighting, 0, FRAMES).lamps[0].position, first)
    for turned in (left, right):
        assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(first))
        assert first @ turned / (first @ first) == pytest.approx(0.5)
    assert not np.allclose(left, right)


@pytest.mark.integration
def test_motion_leads_to_the_same_tooth_and_the_same_colour_in_frame_0() -> None:
    first, *_, last = rendered(ORBIT)
    assert last.motion is not None
    row, column = np.mgrid[:SIZE, :SIZE]
    at = row + last.motion[..., 1], column + last.motion[..., 0]
    inside = (np.stack(at) > 1).all(0) & (np.stack(at) < SIZE - 2).all(0) & (last.maps["fdi"] > 0)
    nearest = tuple(np.rint(each[inside]).astype(int) for each in at)
    same_tooth = first.maps["fdi"][nearest] == last.maps["fdi"][inside]
    unmoved = first.maps["fdi"][inside] == last.maps["fdi"][inside]
    assert same_tooth.mean() > 0.9
    assert unmoved.mean() < 0.85
    changes = []
    for plane in range(3):
        moved = map_coordinates(first.picture[..., plane].astype(float), [each[inside] for each in at], order=1)
        changes.append(np.abs(moved - last.picture[..., plane][inside]).mean())
    assert np.mean(changes) < 0.7 * np.abs(first.picture[inside].astype(float) - last.picture[inside]).mean()


def test_frame_0_does_not_move_and_hides_only_what_is_no_surface() -> None:
    motion = rendered(ORBIT)[0].motion
    assert motion is not None
    seen = np.isfinite(motion[..., 0])
    assert np.abs(motion[seen]).max() < 0.01
    assert seen[rendered(ORBIT)[0].maps["normal"].any(-1)].mean() > 0.995


def test_points_that_turn_away_are_hidden() -> None:
    hidden = [np.isnan(phantom.motion).any(-1).mean() for phantom in rendered(ORBIT) if phantom.motion is not None]
    assert hidden[2] > hidden[0]
    assert hidden[2] < 0.1


def test_frame_0_of_an_orbit_is_the_single_picture_but_for_its_grain() -> None:
    (single,) = render_patient(3, 5, SIZE, ("frontal",))
    first = rendered(ORBIT)[0]
    for name in ("seg", "fdi", "normal", "light", "depth"):
        np.testing.assert_array_equal(first.maps[name], single.maps[name])
    assert 0 < np.abs(first.picture.astype(int) - single.picture).mean() < 3


def test_frames_are_named_and_the_light_alone_moves_in_a_series_of_lights() -> None:
    frames = rendered(LIGHT)
    name = "s3-p000005-frontal-light"
    assert [frame.frame for frame in frames] == [Frame(name, n) for n in range(4)]
    assert [frame.key for frame in frames] == [f"{name}-f{n:03d}" for n in range(4)]
    assert len({frame.prompt for frame in frames}) == 1
    for frame in frames[1:]:
        assert frame.motion is None
        assert (frame.maps["seg"] == frames[0].maps["seg"]).all()
        assert (frame.maps["light"] != frames[0].maps["light"]).mean() > 0.2


def test_a_part_of_a_series_is_what_it_is_in_the_whole() -> None:
    (part,) = rendered(ORBIT, 2, 3)
    whole = rendered(ORBIT)[2]
    assert replace(part, maps={}, picture=whole.picture, motion=None) == replace(whole, maps={}, motion=None)
    np.testing.assert_array_equal(part.motion, whole.motion)
    np.testing.assert_array_equal(part.picture, whole.picture)
