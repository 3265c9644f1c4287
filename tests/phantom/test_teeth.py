"""Crowns have the size that is asked for, mirror each other and wear down."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dentgen.phantom.anatomy import CROWN_SIZE_MM, Arch
from dentgen.phantom.teeth import COLUMNS, Crown, CrownSize, build_crown
from dentgen.seeding import numpy_generator

CLASSES: list[tuple[Arch, int]] = [("upper", 1), ("upper", 3), ("lower", 4), ("lower", 6), ("upper", 6)]


def crown(arch: Arch, position: int, side: int = 1, wear: float = 0.3) -> Crown:
    return build_crown(arch, position, side, CrownSize(*CROWN_SIZE_MM[arch][position]), wear, numpy_generator("crown"))


@pytest.mark.parametrize(("arch", "position"), CLASSES)
def test_left_and_right_crowns_are_mirror_images(arch: Arch, position: int) -> None:
    left, right = (crown(arch, position, side) for side in (1, -1))
    flipped = right.vertices * [-1, 1, 1]
    for point in left.vertices[::37]:
        assert np.linalg.norm(flipped - point, axis=1).min() < 1e-6


@pytest.mark.parametrize(("arch", "position"), CLASSES)
def test_crowns_measure_what_the_table_says(arch: Arch, position: int) -> None:
    height, mesiodistal, buccolingual = CROWN_SIZE_MM[arch][position]
    vertices = crown(arch, position).vertices
    above_cervix = vertices[vertices[:, 2] > 0]
    assert np.ptp(above_cervix[:, 0]) == pytest.approx(mesiodistal, rel=0.03)
    assert np.ptp(above_cervix[:, 1]) == pytest.approx(buccolingual, rel=0.15)
    assert vertices[:, 2].max() == pytest.approx(height, rel=0.06)


@pytest.mark.parametrize(("arch", "position"), CLASSES)
def test_crowns_are_closed_except_at_the_root_and_in_the_middle_of_the_top(arch: Arch, position: int) -> None:
    faces = crown(arch, position).faces
    edges = Counter(tuple(sorted((int(f[i]), int(f[(i + 1) % 3])))) for f in faces for i in range(3))
    assert set(edges.values()) == {1, 2}
    assert list(edges.values()).count(1) == 2 * COLUMNS


@pytest.mark.parametrize(("arch", "position"), CLASSES)
def test_wear_lowers_the_highest_point(arch: Arch, position: int) -> None:
    fresh, half_worn, worn = (crown(arch, position, wear=wear).vertices[:, 2].max() for wear in (0.0, 0.5, 1.0))
    assert fresh >= half_worn >= worn
    assert fresh > worn + 0.1


def test_only_back_teeth_have_fissures_and_only_front_teeth_an_incisal_edge() -> None:
    for arch, position in CLASSES:
        built = crown(arch, position)
        assert (built.fissure.max() > 0.9) == (position > 3)
        assert (built.edge.max() == 1) == (position <= 3)


def test_fissures_lie_below_the_cusps_around_them() -> None:
    molar = crown("lower", 6)
    grooves, cusps = molar.fissure > 0.9, molar.height > 0.95
    assert molar.height[grooves].mean() < molar.height[cusps].min()
