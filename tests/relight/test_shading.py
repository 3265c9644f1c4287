"""The shading model: close to the phantoms' own lighting maps, symmetric under mirrors, reproducible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dentgen.conditions.labels import has_surface, mirror_normal
from dentgen.errors import SpecError
from dentgen.phantom.camera import VIEWS
from dentgen.phantom.light import sample_lighting
from dentgen.phantom.render import Phantom, render_patient
from dentgen.records import MapArray
from dentgen.relight.shading import (
    LIGHT_STYLES,
    ClayLighting,
    DirectionalLight,
    LightStyle,
    draw_lighting,
    draw_lightings,
    draw_swing,
    open_share,
    shade,
    shadings,
)
from dentgen.seeding import numpy_generator

SIDE = ClayLighting((DirectionalLight((-1.0, 0.3, 1.0)),))


@pytest.fixture(scope="module")
def views() -> dict[str, Phantom]:
    return {str(phantom.attributes["view"]): phantom for phantom in render_patient(3, 8, 96)}


@pytest.fixture(scope="module")
def maps(views: dict[str, Phantom]) -> dict[str, MapArray]:
    return views["frontal"].maps


def own_lighting(phantom: Phantom) -> ClayLighting:
    """The lamps of a phantom, moved from the camera's plane, 260 mm away, to infinity."""
    lamps = sample_lighting(numpy_generator(3, phantom.key, "light")).lamps
    total = sum(float(lamp.strength.mean()) for lamp in lamps)
    return ClayLighting(
        tuple(
            DirectionalLight((float(lamp.position[0]), float(lamp.position[1]), 260.0), lamp.strength.mean() / total)
            for lamp in lamps
        )
    )


def turned_around(lighting: ClayLighting) -> ClayLighting:
    """The lamps rotated by 180 degrees about the view axis."""
    turns = [(light, light.direction) for light in lighting.lights]
    return ClayLighting(tuple(DirectionalLight((-x, -y, z), light.strength) for light, (x, y, z) in turns))


def ball(size: int = 64) -> NDArray[np.uint8]:
    """Normals of half a ball."""
    down, right = (np.mgrid[:size, :size] - (size - 1) / 2) / (size / 2.2)
    towards = np.sqrt(np.maximum(1 - right**2 - down**2, 0))
    normal = np.rint(np.stack([right, -down, towards], -1) * 127.5 + 127.5)
    return np.where(towards[..., None] > 0, normal, 0).astype(np.uint8)


def correlation(phantom: Phantom, lighting: ClayLighting, *, with_depth: bool = True) -> float:
    """Correlation of a shaded map with the phantom's ray-traced one, where there is a surface."""
    solid = phantom.maps["seg"] > 0
    found = shade(phantom.maps["normal"], phantom.maps["depth"] if with_depth else None, lighting)
    return float(np.corrcoef(found[solid], phantom.maps["light"][solid])[0, 1])


@pytest.mark.integration
@pytest.mark.parametrize("view", VIEWS)
def test_shading_with_a_phantom_s_own_lamps_reproduces_its_lighting_map(views: dict[str, Phantom], view: str) -> None:
    assert correlation(views[view], own_lighting(views[view])) > 0.9


def test_lamps_and_depth_both_contribute_to_that(views: dict[str, Phantom]) -> None:
    own = {view: own_lighting(phantom) for view, phantom in views.items()}
    found = np.mean([correlation(phantom, own[view]) for view, phantom in views.items()])
    flat = np.mean([correlation(phantom, own[view], with_depth=False) for view, phantom in views.items()])
    turned = np.mean([correlation(phantom, turned_around(own[view])) for view, phantom in views.items()])
    assert found > flat + 0.01
    assert found > turned + 0.05


def test_the_lit_side_is_the_lamp_s() -> None:
    normal = ball()
    for direction, bright, dark in (
        ((-1.0, 0.0, 1.0), np.s_[:, :32], np.s_[:, 32:]),
        ((0.0, 1.0, 1.0), np.s_[:32], np.s_[32:]),
    ):
        light = shade(normal, None, ClayLighting((DirectionalLight(direction),))).astype(float)
        assert light[bright].sum() > 1.5 * light[dark].sum(), direction


@pytest.mark.integration
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(LIGHT_STYLES))
def test_a_mirror_mirrors_the_light_bit_for_bit(maps: dict[str, MapArray], seed: int, style: LightStyle) -> None:
    """On a jaw and on noise, whose depth is all steps; of even and of odd width."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (17, 21, 3)).astype(np.uint8), rng.integers(0, 65536, (17, 21)).astype(np.uint16)
    lighting = draw_lighting(rng, style)
    for normal, depth in (noise, (maps["normal"], maps["depth"])):
        flipped = mirror_normal(normal.astype(np.uint8))
        assert (open_share(flipped, depth[:, ::-1]) == open_share(normal, depth)[:, ::-1]).all()
        for near in (None, depth):
            found = shade(flipped, None if near is None else near[:, ::-1], lighting.mirrored())
            assert (found == shade(normal, near, lighting)[:, ::-1]).all()


def test_rotated_lamps_change_the_map(maps: dict[str, MapArray]) -> None:
    one, other = (shade(maps["normal"], maps["depth"], light).astype(int) for light in (SIDE, turned_around(SIDE)))
    assert np.abs(one - other)[maps["seg"] > 0].mean() > 20


@pytest.mark.parametrize("style", LIGHT_STYLES)
def test_only_pixels_without_a_surface_are_zero(maps: dict[str, MapArray], style: LightStyle) -> None:
    lighting = draw_lighting(np.random.default_rng(5), style)
    for depth in (None, maps["depth"]):
        light = shade(maps["normal"], depth, lighting)
        assert light.dtype == np.uint8
        assert light.shape == (96, 96)
        assert ((light > 0) == has_surface(maps["normal"])).all()


def test_soft_light_has_the_least_contrast_and_extreme_light_the_most(maps: dict[str, MapArray]) -> None:
    solid = maps["seg"] > 0
    contrast: dict[str, float] = {}
    for style in LIGHT_STYLES:
        drawn = [draw_lighting(np.random.default_rng(number), style) for number in range(8)]
        contrast[style] = sum(light[solid].std() for light in shadings(maps["normal"], maps["depth"], drawn))
    assert min(contrast, key=contrast.__getitem__) == "soft"
    assert max(contrast, key=contrast.__getitem__) == "extreme"


def test_lightings_are_determined_by_seed_key_and_index() -> None:
    drawn = draw_lightings(1, "k", 7)
    assert drawn == draw_lightings(1, "k", 7)
    assert drawn[:3] == draw_lightings(1, "k", 3)
    assert {lighting.style for lighting in drawn[:5]} == set(LIGHT_STYLES)
    assert len(set(drawn)) == 7
    assert not set(drawn) & {*draw_lightings(2, "k", 7), *draw_lightings(1, "other", 7)}


def test_several_lightings_at_once_equal_each_alone(maps: dict[str, MapArray]) -> None:
    lightings = draw_lightings(0, "k", 3)
    together = shadings(maps["normal"], maps["depth"], lightings)
    for lighting, light in zip(lightings, together, strict=True):
        assert (light == shade(maps["normal"], maps["depth"], lighting)).all()
    assert not (together[0] == together[1]).all()


def test_a_ridge_is_open_and_a_groove_is_not() -> None:
    """Two planes at a right angle occlude each other near their edge in a groove, but not on a ridge."""
    across = np.abs(np.arange(64) - 31.5)
    slope = np.where(np.arange(64) < 31.5, 1, -1)[:, None] * [90, 0, 0] + [127, 127, 218]
    normal = np.broadcast_to(slope, (64, 64, 3)).astype(np.uint8)
    mirrored = np.broadcast_to(slope[::-1], (64, 64, 3)).astype(np.uint8)
    groove = np.broadcast_to(10000 + 1000 * across, (64, 64)).astype(np.uint16)
    ridge = np.broadcast_to(60000 - 1000 * across, (64, 64)).astype(np.uint16)
    open_groove = open_share(normal, groove)[20:44]
    assert open_groove[:, 31:33].max() < 0.7
    assert open_groove[:, 24:31].mean() > open_groove[:, 31].mean(), "darkest at the bottom"
    assert open_groove[:, 8:16].min() > 0.98
    assert open_share(mirrored, ridge)[20:44].min() > 0.98


def test_occlusion_does_not_depend_on_the_scale_of_depth(maps: dict[str, MapArray]) -> None:
    """Depth has no unit, so half of its range describes the same crevices."""
    half = (maps["depth"] // 2).astype(np.uint16)
    assert np.abs(open_share(maps["normal"], maps["depth"]) - open_share(maps["normal"], half)).max() < 0.02


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3), (3, 3)])
def test_maps_smaller_than_the_neighbourhood_are_unoccluded(shape: tuple[int, int]) -> None:
    normal = np.full((*shape, 3), (128, 128, 255), np.uint8)
    depth = np.full(shape, 40000, np.uint16)
    assert (shade(normal, depth, SIDE) == shade(normal, None, SIDE)).all()


def test_a_lamp_behind_the_scene_lights_nothing_from_the_front() -> None:
    """Black surfaces are 1, because 0 means no surface."""
    normal, behind = ball(), (DirectionalLight((0.0, 0.0, -1.0)),)
    assert set(np.unique(shade(normal, None, ClayLighting(behind)))) == {0, int(0.12 * 255)}
    assert set(np.unique(shade(normal, None, ClayLighting(behind, ambient=0.0)))) == {0, 1}


@pytest.mark.parametrize("direction", [(0.0, 0.0, 0.0), (float("nan"), 0.0, 1.0)])
def test_a_light_without_direction_is_refused(direction: tuple[float, float, float]) -> None:
    with pytest.raises(SpecError) as caught:
        DirectionalLight(direction)
    assert caught.value.key == "light direction"
    assert caught.value.found == direction


def test_a_facing_plane_has_the_level_of_the_formula() -> None:
    """Oracle: (ambient + direct) + gloss for a lamp at the lens, without depth."""
    normal = np.full((3, 3, 3), (127, 127, 255), np.uint8)
    lighting = ClayLighting((DirectionalLight((0.0, 0.0, 1.0)),), ambient=0.1, direct=0.5, gloss=0.2)
    assert shade(normal, None, lighting) == pytest.approx(255 * 0.8, abs=1)


def test_a_swinging_lamp_goes_60_degrees_to_both_sides_and_comes_back() -> None:
    frames = draw_swing(3, "k", 8)
    assert frames == draw_swing(3, "k", 8) != draw_swing(3, "other", 8)
    (x, y, z), turned = frames[0].lights[0].direction, [frame.lights[0].direction for frame in frames]
    angles = [np.degrees(np.arctan2(x * b - y * a, x * a + y * b)) for a, b, _ in turned]
    assert angles[2] == pytest.approx(60)
    assert angles[6] == pytest.approx(-60)
    assert (angles[0], angles[4]) == pytest.approx((0, 0))
    assert np.abs(np.diff([*angles, angles[0]])).max() < 60
    for direction in turned:
        assert direction[2] == z
        assert np.hypot(*direction[:2]) == pytest.approx(np.hypot(x, y))
