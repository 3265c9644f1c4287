"""Tables of anatomy agree with the numbering of label schemes, and profiles with the sizes that they scale."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.conditions.label_schemes import ARCH_ORDER
from dentgen.phantom.anatomy import (
    CROWN_SIZE_MM,
    DECIDUOUS_CROWN_SIZE_MM,
    DECIDUOUS_FORM,
    Arch,
    fdi_number,
    side_wall,
)

ARCHES: tuple[Arch, ...] = ("upper", "lower")


@pytest.mark.parametrize("arch", ARCHES)
def test_fdi_numbers_follow_the_arch_order_of_label_schemes(arch: Arch) -> None:
    right = [fdi_number(arch, position, -1) for position in range(8, 0, -1)]
    left = [fdi_number(arch, position, 1) for position in range(1, 9)]
    assert (*right, *left) == ARCH_ORDER[arch]


@pytest.mark.parametrize("arch", ARCHES)
def test_deciduous_quadrants_are_four_above_the_permanent_ones(arch: Arch) -> None:
    for side in (-1, 1):
        for position in range(1, 6):
            assert fdi_number(arch, position, side, "deciduous") == fdi_number(arch, position, side) + 40


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("position", range(1, 9))
def test_side_walls_are_as_wide_as_the_crown_and_taper_to_root_and_rim(arch: Arch, position: int) -> None:
    wall, t = side_wall(arch, position), np.linspace(-0.7, 1, 200)
    width = wall.half_width(t)
    assert width.max() == pytest.approx(1, abs=0.01)
    assert width[0] < width[-1] < width.max()
    assert (wall.buccal(t) > wall.lingual(t)).all()
    assert (wall.exponent(t) >= 1.999).all()


def test_every_deciduous_crown_is_smaller_than_the_permanent_one_of_its_form() -> None:
    for arch in ARCHES:
        for position, (height, *_) in DECIDUOUS_CROWN_SIZE_MM[arch].items():
            assert height < CROWN_SIZE_MM[arch][DECIDUOUS_FORM[position]][0]
