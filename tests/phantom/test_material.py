"""Colours: the Lab conversion, and words that agree with the drawn numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dentgen.phantom.material import GUM_LAB, INFLAMED_FROM, SHADE_WORDS, VITA_LAB, lab_to_linear, sample_material
from dentgen.quality.metrics import linear_to_lab
from dentgen.seeding import numpy_generator
from tests.phantom.surfaces import NO_LESIONS


@given(st.tuples(*[st.floats(0.01, 0.99)] * 3))
def test_lab_conversion_inverts_the_forward_one(rgb: tuple[float, float, float]) -> None:
    lightness, a, b = linear_to_lab(np.array(rgb))
    assert lab_to_linear(lightness, a, b) == pytest.approx(rgb, abs=2e-3)


def test_lab_conversion_maps_white_black_and_out_of_gamut_colours() -> None:
    assert lab_to_linear(100, 0, 0) == pytest.approx([1, 1, 1], abs=1e-3)
    assert lab_to_linear(0, 0, 0) == pytest.approx([0, 0, 0], abs=1e-3)
    assert lab_to_linear(50, 120, 0).min() == 0


def test_every_vita_shade_has_one_word() -> None:
    assert sorted(shade for shades in SHADE_WORDS.values() for shade in shades) == sorted(VITA_LAB)


def test_words_agree_with_the_drawn_numbers() -> None:
    drawn = [sample_material(numpy_generator("words", n), NO_LESIONS) for n in range(300)]
    for material in drawn:
        assert material.shade in SHADE_WORDS[material.shade_word]
        inflamed = material.inflammation >= INFLAMED_FROM
        assert material.gum_word == ("inflamed" if inflamed else material.gum_kind)
    assert {material.gum_word for material in drawn} == {*GUM_LAB, "inflamed"}
    shares = [np.mean([material.shade_word == word for material in drawn]) for word in SHADE_WORDS]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.09)


def test_enamel_and_gum_follow_the_order_of_their_words() -> None:
    """Yellow teeth have a higher b* than white ones, pale gum a higher L* than dark gum."""
    drawn = [sample_material(numpy_generator("order", n), NO_LESIONS) for n in range(300)]

    def mean(name: str, attribute: str, word: str, axis: int) -> float:
        colours = [getattr(m, name) for m in drawn if getattr(m, attribute) == word]
        return float(np.mean(linear_to_lab(np.array(colours))[:, axis]))

    assert mean("enamel", "shade_word", "yellow", 2) > mean("enamel", "shade_word", "white", 2) + 5
    assert mean("gum", "gum_kind", "pale", 0) > mean("gum", "gum_kind", "pink", 0) > mean("gum", "gum_kind", "dark", 0)


def test_canines_are_yellower_than_their_neighbours() -> None:
    tint = sample_material(numpy_generator("tint"), NO_LESIONS).tooth_tint
    for quadrant in (10, 20, 30, 40, 50, 60, 70, 80):
        canine, incisor = tint[quadrant + 3], tint[quadrant + 2]
        assert canine[2] / canine[0] < incisor[2] / incisor[0]
