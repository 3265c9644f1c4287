"""Maps encode traced points as condition records define it."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.conditions.labels import APPLIANCE, GINGIVA, RESTORATION, TOOTH
from dentgen.phantom.light import Lamp
from dentgen.phantom.maps import (
    curvature_map,
    depth_map,
    fdi_map,
    lighting_map,
    mirror_image,
    normal_map,
    segmentation_map,
)
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.scene import Surface
from dentgen.phantom.shading import paint
from dentgen.phantom.tissue import coat
from dentgen.records import MapArray
from dentgen.seeding import numpy_generator
from tests.phantom.surfaces import CAMERA, lit_by, material, traced

MOUTH = [Tissue.TOOTH, Tissue.GUM, Tissue.PALATE, Tissue.NONE]
SOFT = [Tissue.LIP, Tissue.TONGUE, Tissue.MUCOSA, Tissue.APPLIANCE]


def test_tissues_become_classes_and_restored_points_restorations() -> None:
    for tissues, classes in ((MOUTH, [TOOTH, GINGIVA, GINGIVA, 0]), (SOFT, [0, 0, 0, APPLIANCE])):
        surface = traced(tissues)
        skin = coat(surface, material(), LatticeNoise(numpy_generator("noise")))
        painted = paint(surface, skin, 1.0, LatticeNoise(numpy_generator("noise")))
        assert segmentation_map(painted, 2).ravel().tolist() == classes
        skin.restored[:] = 0.5
        restored = [RESTORATION if label == TOOTH else label for label in classes]
        assert segmentation_map(painted, 2).ravel().tolist() == restored


def test_fdi_numbers_are_those_of_the_points() -> None:
    assert fdi_map(traced(MOUTH, [11, 0, 0, 0]), 2).tolist() == [[11, 0], [0, 0]]


def test_normals_are_encoded_in_camera_space_where_there_is_a_surface() -> None:
    directions = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    found = normal_map(traced(MOUTH, normal=directions), CAMERA, 2)
    assert found.reshape(-1, 3).tolist() == [[127, 127, 255], [255, 127, 127], [127, 255, 127], [0, 0, 0]]


def test_curvature_is_128_where_flat_and_bright_where_convex() -> None:
    found = curvature_map(traced(MOUTH, curvature=[0.0, 0.5, -0.5, 0.5]), 2).ravel().tolist()
    level = 127 * np.tanh(0.65)
    assert found == [128, int(128 + level), int(128 - level), 128]


def test_depth_is_linear_from_near_to_far() -> None:
    found = depth_map(traced([Tissue.TOOTH, Tissue.GUM, Tissue.GUM, Tissue.LIP], depth_mm=[90.0, 95.0, 100.0, 60.0]), 2)
    assert found.ravel() == pytest.approx([65535, 35535, 5535, 0], abs=1)
    assert found.dtype == np.uint16
    assert not depth_map(traced([Tissue.LIP] * 4), 2).any(), "no surface at all"


def clay(surface: Surface, *lamps: Lamp) -> list[int]:
    return [int(level) for level in lighting_map(surface, lit_by(*lamps), CAMERA, 2).ravel()]


def test_the_lighting_map_is_lambert_s_law_with_a_highlight() -> None:
    """A lamp at the lens, on points that face it, are tilted by 60 degrees, or are fully occluded."""
    facing, tilted = [0.0, 0.0, 1.0], [0.0, np.sin(np.pi / 3), 0.5]
    tissues = [Tissue.TOOTH, Tissue.GUM, Tissue.GUM, Tissue.LIP]
    surface = traced(tissues, normal=[facing, tilted, facing, facing], occlusion=[1.0, 1.0, 0.0, 1.0])
    at_lens = Lamp(np.zeros(3), np.ones(3), 0.02)
    expected = [0.12 + 0.72 + 0.14, 0.12 + 0.36, 0.35 * (0.12 + 0.72) + 0.14, 0.0]
    assert clay(surface, at_lens) == [int(255 * level) for level in expected]


def test_the_lighting_map_does_not_depend_on_the_exposure_of_the_lamps() -> None:
    surface = traced(MOUTH)
    weak, strong = (Lamp(np.array([50.0, 20.0, 0.0]), np.full(3, strength), 0.02) for strength in (0.1, 3.0))
    assert clay(surface, weak) == clay(surface, strong)


def test_a_mirror_flips_maps_negates_normal_x_and_keeps_tooth_numbers() -> None:
    maps: dict[str, MapArray] = {
        "fdi": np.array([[11, 21]], np.uint8),
        "depth": np.array([[7000, 60000]], np.uint16),
        "normal": np.array([[[255, 127, 127], [0, 0, 0]]], np.uint8),
    }
    flipped = mirror_image(maps)
    assert flipped["fdi"].tolist() == [[21, 11]]
    assert flipped["depth"].tolist() == [[60000, 7000]]
    assert flipped["normal"].tolist() == [[[0, 0, 0], [0, 127, 127]]]
    assert maps["fdi"].tolist() == [[11, 21]], "the input is not changed"
