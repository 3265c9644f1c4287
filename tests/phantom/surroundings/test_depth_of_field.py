"""What is at the teeth's depth stays sharp; blur grows with the distance from it and keeps the light."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dentgen.phantom.surroundings.depth_of_field import defocused

NOISE = np.random.default_rng(0).random((256, 256, 3))


def teeth() -> np.ndarray:
    focused = np.zeros((256, 256), bool)
    focused[:, :64] = True
    return focused


def test_teeth_are_sharp_and_farther_things_are_not() -> None:
    depth = np.full((256, 256), 100.0)
    depth[:, 128:192], depth[:, 192:] = 120.0, np.inf
    found = defocused(NOISE, depth, teeth(), 0.1)
    np.testing.assert_allclose(found[:, :110], NOISE[:, :110])
    spread = [found[:, start : start + 40].std() for start in (10, 140, 205)]
    assert spread[0] > 2 * spread[1] > 4 * spread[2]


def test_a_level_is_a_gaussian_of_its_sigma() -> None:
    depth = np.full((256, 256), 118.0)
    depth[teeth()] = 100.0
    found = defocused(NOISE, depth, teeth(), 0.1)  # 16 mm beyond the sharp 2 mm: 1.6 pixels
    np.testing.assert_allclose(found[:, 100:], gaussian_filter(NOISE, (1.6, 1.6, 0))[:, 100:], atol=1e-9)


@pytest.mark.parametrize(("focused", "blur"), [(teeth(), 0.0), (np.zeros((256, 256), bool), 0.1)])
def test_without_blur_or_teeth_nothing_changes(focused: np.ndarray, blur: float) -> None:
    depth = np.random.default_rng(1).uniform(50, 200, (256, 256))
    assert (defocused(NOISE, depth, focused, blur) == NOISE).all()


def test_an_even_picture_stays_even() -> None:
    depth = np.random.default_rng(1).uniform(50, 200, (256, 256))
    np.testing.assert_allclose(defocused(np.full((256, 256, 3), 0.4), depth, teeth(), 0.2), 0.4)


def test_an_edge_in_focus_stays_sharp_before_a_blurred_ground() -> None:
    bright = np.zeros((256, 256, 3))
    bright[teeth()] = 1.0
    depth = np.where(teeth(), 100.0, np.inf)
    found = defocused(bright, depth, teeth(), 0.1)
    np.testing.assert_allclose(found[:, :64], 1.0)
    assert found[:, 64:].max() < 0.02, "teeth have a halo"


def test_what_is_blurred_before_the_teeth_spreads_over_them() -> None:
    bright = np.zeros((256, 256, 3))
    bright[:, 128:] = 1.0
    depth = np.full((256, 256), 100.0)
    depth[:, 128:] = 60.0
    found = defocused(bright, depth, teeth(), 0.1)[128, :, 0]
    assert 0.05 < found[127] < 0.5
    assert (np.diff(found[110:140]) >= 0).all()
    assert found[110] < 0.01
    assert found[140] == pytest.approx(1.0, abs=0.02)


def test_blur_is_a_share_of_the_picture() -> None:
    """At half the size it is half as wide, so a picture and its reduction look alike."""
    depth = np.full((256, 256), 112.0)
    depth[teeth()] = 100.0
    smooth = gaussian_filter(NOISE, (6, 6, 0))
    large = defocused(smooth, depth, teeth(), 0.3)
    small = defocused(smooth[::2, ::2], depth[::2, ::2], teeth()[::2, ::2], 0.3)
    np.testing.assert_allclose(small[:, 50:], large[::2, ::2][:, 50:], atol=0.004)
