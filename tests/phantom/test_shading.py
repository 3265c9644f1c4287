"""Shading obeys the rules of light: linear in the lamps, none from behind, GGX that conserves its area."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.light import Lamp, Lighting
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.shading import _FRESNEL_NORMAL, Painted, _ggx, paint, shade
from dentgen.phantom.tissue import coat
from dentgen.seeding import numpy_generator
from tests.phantom.surfaces import CAMERA, lit_by, material, traced


def painted(**values: object) -> Painted:
    surface = traced([Tissue.TOOTH, Tissue.GUM, Tissue.TONGUE, Tissue.NONE], margin_mm=5.0, height=0.5, **values)
    noise = LatticeNoise(numpy_generator("noise"))
    return paint(surface, coat(surface, material(), noise), 1.0, noise)


def lamp(strength: float, position: tuple[float, float, float] = (30.0, 40.0, 0.0)) -> Lamp:
    return Lamp(np.array(position), np.full(3, strength), 0.05)


def radiance(*lamps: Lamp, **values: float) -> np.ndarray:
    return shade(painted(), lit_by(*lamps, **values), CAMERA)


def test_lamps_add_up() -> None:
    left, right = lamp(0.4, (-60.0, 0.0, 0.0)), lamp(0.7, (60.0, 0.0, 0.0))
    dark = radiance(ambient=0.2)
    both = radiance(left, right, ambient=0.2) - dark
    assert both == pytest.approx(radiance(left, ambient=0.2) - dark + radiance(right, ambient=0.2) - dark)


def test_light_is_linear_in_the_lamp_s_strength() -> None:
    assert radiance(lamp(0.9)) == pytest.approx(3 * radiance(lamp(0.3)))


def test_lamps_behind_the_surface_light_nothing() -> None:
    behind = lamp(1.0, (20.0, 10.0, -300.0))
    assert radiance(behind)[:3] == pytest.approx(0, abs=1e-12)
    assert (radiance(lamp(1.0))[:3] > 0.01).all()


def test_misses_show_the_surround() -> None:
    lighting = Lighting("ring", (lamp(1.0),), np.full(3, 0.3), 1.0, 0.7, 0.0, 0.0, np.array([0.1, 0.2, 0.3]))
    assert shade(painted(), lighting, CAMERA)[3].tolist() == [0.1, 0.2, 0.3]


def test_occluded_points_are_darker() -> None:
    open_air = shade(painted(), lit_by(lamp(0.5), ambient=0.3), CAMERA)
    hidden = shade(painted(occlusion=0.3), lit_by(lamp(0.5), ambient=0.3), CAMERA)
    assert (hidden[:3] < open_air[:3]).all()


def test_fading_darkens_what_lies_deep_and_nothing_else() -> None:
    """Deep is 48 mm behind the target at full effect, up to 12 mm before it has none."""
    for depth, factor in ((88.0, 1.0), (118.0, 1 - 0.5 * 0.4), (200.0, 1 - 0.4)):
        deep = painted(depth_mm=depth)
        plain, faded = (shade(deep, lit_by(lamp(0.5), fading=fading), CAMERA) for fading in (0.0, 0.4))
        assert faded[:3] == pytest.approx(factor * plain[:3])


def test_relief_is_unit_length_and_absent_without_bump() -> None:
    surface = traced([Tissue.TONGUE] * 40, position=numpy_generator("p").normal(0, 9, (40, 3)))
    noise = LatticeNoise(numpy_generator("noise"))
    skin = coat(surface, material(), noise)
    bumped = paint(surface, skin, 1.0, noise).bumped
    assert np.linalg.norm(bumped, axis=1) == pytest.approx(np.ones(40))
    assert np.abs(bumped - surface.normal).max() > 0.02
    skin.bump[:] = 0
    assert paint(surface, skin, 1.0, noise).bumped == pytest.approx(surface.normal)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.9])
def test_the_ggx_distribution_integrates_to_one(alpha: float) -> None:
    """The integral of D (n.h) over the hemisphere of half vectors is 1 (Walter et al. 2007, eq. 4).

    With light and view along the half vector, the lobe divided by Fresnel, masking and n.l is D.
    """
    theta = (np.arange(4000) + 0.5) / 4000 * np.pi / 2
    half = np.stack([np.sin(theta), np.zeros_like(theta), np.cos(theta)], -1)
    normal = np.broadcast_to([0.0, 0.0, 1.0], half.shape)
    cosine, k = np.cos(theta), alpha / 2
    masking = 1 / (cosine * (1 - k) + k) / (np.maximum(cosine, 0.05) * (1 - k) + k) / 4
    distribution = _ggx(normal, half, half, half, np.full(len(theta), alpha)) / (_FRESNEL_NORMAL * masking * cosine)
    integral = (distribution * cosine * 2 * np.pi * np.sin(theta)).sum() * np.pi / 2 / 4000
    assert integral == pytest.approx(1, abs=1e-3)
