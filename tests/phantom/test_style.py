"""Shapes vary between patients as the constants of the module say."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.style import sample_child_shape, sample_shape
from dentgen.seeding import numpy_generator

COUNT = 2000


def share(hits: list[bool]) -> float:
    return sum(hits) / len(hits)


@pytest.mark.slow
def test_adults_lose_back_teeth_in_the_shares_that_surveys_give() -> None:
    """A tooth is missing with probability 0.6 * 0.14, third molars are present in 0.35 of the arches."""
    shapes = [sample_shape(numpy_generator("adult", n)) for n in range(COUNT)]
    assert share([16 in shape.missing for shape in shapes]) == pytest.approx(0.084, abs=0.025)
    assert share([bool(shape.missing) for shape in shapes]) == pytest.approx(0.6 * (1 - 0.86**14), abs=0.04)
    assert not any(fdi % 10 < 4 for shape in shapes for fdi in shape.missing)
    assert share([shape.third_molars[0] for shape in shapes]) == pytest.approx(0.35, abs=0.04)


def test_a_tenth_of_adults_wears_braces_on_the_upper_arch_or_on_both() -> None:
    worn = [sample_shape(numpy_generator("shape", n), numpy_generator("braces", n)).braced for n in range(COUNT)]
    assert share([bool(arches) for arches in worn]) == pytest.approx(0.1, abs=0.025)
    assert set(worn) == {frozenset(), frozenset({"upper"}), frozenset({"upper", "lower"})}


def test_braces_draw_from_a_stream_of_their_own() -> None:
    plain, braced = sample_shape(numpy_generator("s")), sample_shape(numpy_generator("s"), numpy_generator("b", 3))
    assert {plain.size, plain.missing} == {braced.size, braced.missing}
    assert not plain.braced


def test_children_are_smaller_and_lose_one_tooth_in_fifty_of_those_lost_early() -> None:
    shapes = [sample_child_shape(numpy_generator("child", n)) for n in range(COUNT)]
    assert {shape.dentition for shape in shapes} == {"deciduous"}
    assert max(shape.arch_width_mm for shape in shapes) < 62 <= sample_shape(numpy_generator(0)).arch_width_mm
    assert np.mean([len(shape.missing) for shape in shapes]) == pytest.approx(10 * 0.02, abs=0.04)
    assert not any(shape.braced or any(shape.third_molars) for shape in shapes)


def test_amounts_have_no_negative_values() -> None:
    for n in range(300):
        for shape in (sample_shape(numpy_generator("a", n)), sample_child_shape(numpy_generator("c", n))):
            for name in ("gap_mm", "wear", "recession_mm", "papilla_loss", "crowding", "opening_mm"):
                assert getattr(shape, name) >= 0, name
