"""Flicker and ghosting of made-up series, whose motion and noise are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from dentgen.quality.frame_agreement import Places, flicker, persistence, places_of, undone

SIZE, FRAMES = 64, 8
Floats = NDArray[np.float64]


def texture(seed: int, channels: int = 3) -> Floats:
    """Smooth colours, 0..255, over more than the picture."""
    noise = np.random.default_rng(seed).normal(size=(3 * SIZE, 3 * SIZE, channels))
    smooth = np.stack([gaussian_filter(noise[..., c], 1.5) for c in range(channels)], -1)
    return 128 + 40 * smooth / smooth.std()


def offset(frame: int) -> tuple[float, float]:
    """Pixels down and right by which the surface has moved by a frame."""
    return 1.5 * frame, -2.25 * frame


def motions() -> list[NDArray[np.float32]]:
    """Back to the first frame, against the way of the surface."""
    return [
        np.broadcast_to(np.array([-offset(n)[1], -offset(n)[0]], np.float32), (SIZE, SIZE, 2)) for n in range(FRAMES)
    ]


def places() -> list[Places]:
    return [places_of(motion, (SIZE, SIZE)) for motion in motions()]


def moved(surface: Floats, frame: int) -> Floats:
    """What a frame shows of a surface."""
    down, right = offset(frame)
    row, column = np.mgrid[:SIZE, :SIZE] + float(SIZE)
    return np.stack([map_coordinates(surface[..., c], (row - down, column - right), order=1) for c in range(3)], -1)


def still(surface: Floats) -> Floats:
    return surface[SIZE : 2 * SIZE, SIZE : 2 * SIZE]


def test_places_invert_a_turn_and_leave_out_what_is_hidden() -> None:
    row, column = np.mgrid[:SIZE, :SIZE].astype(float)
    angle, middle = np.deg2rad(6), SIZE / 2
    x, y = column - middle, row - middle
    motion = np.stack([x * np.cos(angle) - y * np.sin(angle) - x, x * np.sin(angle) + y * np.cos(angle) - y], -1)
    motion[20:24, 30:34] = np.nan
    found = places_of(motion.astype(np.float32), (SIZE, SIZE))
    back_x, back_y = x * np.cos(angle) + y * np.sin(angle) + middle, -x * np.sin(angle) + y * np.cos(angle) + middle
    assert 0.7 < found.seen.mean() < 0.99
    assert np.abs(found.column - back_x)[found.seen].max() < 0.3
    assert np.abs(found.row - back_y)[found.seen].max() < 0.3
    hidden = np.hypot(back_x - 31.5, back_y - 21.5) < 1
    assert not found.seen[hidden].any()


def test_no_motion_is_the_picture_itself() -> None:
    picture = still(texture(0))
    found = places_of(None, (SIZE, SIZE))
    assert found.seen.all()
    np.testing.assert_array_equal(found.values(picture), picture)
    np.testing.assert_allclose(places_of(np.zeros((SIZE, SIZE, 2), np.float32), (SIZE, SIZE)).values(picture), picture)


def test_nothing_seen_is_no_number() -> None:
    hidden = places_of(np.full((SIZE, SIZE, 2), np.nan, np.float32), (SIZE, SIZE))
    assert not hidden.seen.any()


def test_a_surface_that_moves_does_not_flicker_and_noise_does() -> None:
    surface, rng = texture(1), np.random.default_rng(2)
    frames = [moved(surface, n) for n in range(FRAMES)]
    assert flicker(undone(frames, places()), places()) < 4, "what interpolation costs"
    assert flicker(frames, [places_of(None, (SIZE, SIZE))] * FRAMES) > 20, "with the motion left in"
    noisy = [still(surface) + rng.normal(0, 10, (SIZE, SIZE, 3)) for _ in range(FRAMES)]
    none = [places_of(None, (SIZE, SIZE))] * FRAMES
    assert flicker(noisy, none) == pytest.approx(10 * np.sqrt(2) * np.sqrt(2 / np.pi), rel=0.03)


def test_changes_of_the_references_are_taken_off() -> None:
    none = [places_of(None, (SIZE, SIZE))] * FRAMES
    brighter = [still(texture(1)) + 5.0 * n for n in range(FRAMES)]
    assert flicker(brighter, none) == pytest.approx(5)
    assert flicker(brighter, none, [np.full((SIZE, SIZE, 3), 5.0 * n) for n in range(FRAMES)]) == pytest.approx(0)


def test_structure_that_moves_along_is_told_from_structure_that_stays() -> None:
    surface = texture(3)
    along = persistence([moved(surface, n) for n in range(FRAMES)], places(), 2)
    assert along.surface > 0.9
    assert along.screen < 0.5
    stuck = persistence([still(surface)] * FRAMES, places(), 2)
    assert stuck.screen == pytest.approx(1)
    assert stuck.surface < 0.5
    fresh = persistence([still(texture(n)) for n in range(FRAMES)], places(), 2)
    assert abs(fresh.surface) < 0.1
    assert abs(fresh.screen) < 0.1


def test_what_does_not_move_cannot_tell() -> None:
    found = persistence([still(texture(3))] * FRAMES, [places_of(None, (SIZE, SIZE))] * FRAMES, 2)
    assert np.isnan([found.surface, found.screen]).all()
