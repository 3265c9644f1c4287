"""Identity free of illumination, and difference of light, of drawn surfaces under drawn lights."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from dentgen.conditions.labels import GINGIVA, TOOTH
from dentgen.quality.relit_pairs import identity, inner_teeth, light_difference, teeth_look

EDGE = 128


def teeth() -> NDArray[np.uint8]:
    """Two teeth on gum."""
    tissues = np.full((EDGE, EDGE), GINGIVA, np.uint8)
    tissues[30:100, 10:60] = tissues[30:100, 66:116] = TOOTH
    return tissues


def surface(seed: int) -> NDArray[np.float64]:
    """Reflectance (H, W, 3) with texture."""
    rng = np.random.default_rng(seed)
    return 0.4 + 0.1 * rng.random((EDGE, EDGE, 1)) + 0.03 * rng.random((EDGE, EDGE, 3))


def lit(reflectance: NDArray[np.float64], light: NDArray[np.float64] | float) -> NDArray[np.uint8]:
    """A picture: reflectance times light, as sRGB."""
    linear = np.clip(reflectance * np.broadcast_to(light, reflectance.shape), 0, 1)
    return np.round(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)).astype(
        np.uint8
    )


def from_the_left() -> NDArray[np.float64]:
    return np.linspace(1.5, 0.5, EDGE)[None, :, None] * np.ones((EDGE, 1, 1))


def test_identity_ignores_strength_colour_and_slope_of_the_light() -> None:
    inside, plain = inner_teeth(teeth()), teeth_look(lit(surface(0), 1.0), inner_teeth(teeth()))
    for light in (0.6, from_the_left(), np.array([1.2, 1.0, 0.8])[None, None]):
        assert identity(plain, teeth_look(lit(surface(0), light), inside)) > 0.9
    assert abs(identity(plain, teeth_look(lit(surface(1), 1.0), inside))) < 0.5, "another surface"


def test_light_difference_sees_the_light_and_not_the_surface() -> None:
    inside = inner_teeth(teeth())
    plain, other = (teeth_look(lit(surface(seed), 1.0), inside) for seed in (0, 1))
    left, right = (teeth_look(lit(surface(0), light), inside) for light in (from_the_left(), from_the_left()[:, ::-1]))
    assert light_difference(plain, plain) == 0
    assert light_difference(plain, other) < 0.01
    assert light_difference(left, right) > 0.1, "equal means, other side"
    assert light_difference(plain, teeth_look(lit(surface(0), 0.5), inside)) == pytest.approx(0.45 * 0.5, abs=0.03)


def test_gum_and_outlines_do_not_count() -> None:
    inside, picture = inner_teeth(teeth()), lit(surface(0), 1.0)
    changed = picture.copy()
    changed[~inside] = 0
    one, other = teeth_look(picture, inside), teeth_look(changed, inside)
    assert identity(one, other) == pytest.approx(1.0)
    assert light_difference(one, other) == pytest.approx(0.0, abs=1e-12)
    assert not inside[30:32].any(), "two pixels of margin"
    assert inside[34, 30]


def test_without_teeth_nothing_is_compared() -> None:
    inside = inner_teeth(np.full((EDGE, EDGE), GINGIVA, np.uint8))
    look = teeth_look(lit(surface(0), 1.0), inside)
    assert look.is_empty
    assert math.isnan(identity(look, look))
    assert math.isnan(light_difference(look, look))


def test_a_flat_surface_has_no_identity() -> None:
    look = teeth_look(np.full((EDGE, EDGE, 3), 128, np.uint8), inner_teeth(teeth()))
    assert math.isnan(identity(look, look)) or abs(identity(look, look)) <= 1
