"""Instances together give the label maps back, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.conditions.labels import FDI_NUMBERS, IGNORE, SEG_CLASSES
from dentgen.export.instances import (
    Instance,
    categories,
    class_category,
    instances_of,
    lesion_category,
    tooth_instances,
)
from tests.export.hard_sets import hard_maps


def maps_of(instances: list[Instance], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seg, fdi and lesion from instances alone, written independently of how they were taken apart."""
    seg, fdi, lesion = (np.zeros(shape, np.uint8) for _ in range(3))
    for one in instances:
        if one.category < 100:
            fdi[one.mask] = one.category
            seg[one.mask] = 2
    for one in instances:
        if 100 <= one.category < 400:
            seg[one.mask] = one.category - 100
        elif one.category >= 400:
            lesion[one.mask] = one.category - 400
    return seg, fdi, lesion


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost(seed: int) -> None:
    maps = hard_maps(seed)
    instances = list(instances_of(maps["seg"], maps["fdi"], maps["lesion"]))
    for found, expected in zip(maps_of(instances, maps["seg"].shape), maps.values(), strict=True):
        assert (found == expected).all()
    assert all(one.mask.any() for one in instances)


def test_restorations_and_lesions_are_told_by_tooth() -> None:
    seg, fdi = np.full((1, 4), 4, np.uint8), np.array([[11, 11, 21, 0]], np.uint8)
    found = list(instances_of(seg, fdi, np.array([[3, 0, 3, 0]], np.uint8)))
    restored = [(one.tooth, one.mask.sum()) for one in found if one.category == class_category(4)]
    assert restored == [(0, 1), (11, 2), (21, 1)]
    assert [one.tooth for one in found if one.category == lesion_category(3)] == [11, 21]
    assert [one.category for one in tooth_instances(fdi)] == [11, 21]


def test_unannotated_areas_are_crowds_and_empty_maps_have_nothing() -> None:
    seg = np.array([[255, 0]], np.uint8)
    (only,) = instances_of(seg, np.zeros_like(seg), None)
    assert (only.category, only.is_crowd, only.mask.tolist()) == (class_category(IGNORE), True, [[True, False]])
    assert list(instances_of(np.zeros_like(seg), np.zeros_like(seg), np.zeros_like(seg))) == []


def test_categories_have_numbers_of_their_own_and_teeth_their_fdi_number() -> None:
    found = categories()
    assert len({category.id for category in found}) == len(found)
    assert {category.id for category in found if category.supercategory == "tooth"} == FDI_NUMBERS
    assert {class_category(value) for value in SEG_CLASSES} <= {category.id for category in found}
