"""Diseased mouths have every kind of lesion; healthy ones follow the surveys."""

from __future__ import annotations

from typing import get_args

from dentgen.phantom.anatomy import DENTITIONS
from dentgen.phantom.lesions import FillingKind, sample_lesions
from dentgen.phantom.surroundings.disease import sample_disease
from dentgen.seeding import numpy_generator


def test_every_kind_occurs_and_fits_its_dentition() -> None:
    for dentition in DENTITIONS:
        mouths = [sample_disease(dentition, True, numpy_generator("ill", dentition, n)) for n in range(60)]
        digits = {1, 2, 3, 4} if dentition == "permanent" else {5, 6, 7, 8}
        for kind in (
            "fillings",
            "crowns",
            "caries",
            "white_spots",
            "fractures",
            "leaking",
            "implants",
            "veneers",
            "fluorosis",
        ):
            adult = dentition == "permanent" or kind != "veneers"
            assert any(getattr(mouth, kind) for mouth in mouths) == adult, kind
        assert {filling.kind for mouth in mouths for filling in mouth.fillings} == set(get_args(FillingKind))
        for mouth in mouths:
            teeth = {caries.spot.fdi for caries in mouth.caries} | {f.fdi for f in mouth.fractures} | set(mouth.crowns)
            assert {fdi // 10 for fdi in teeth} <= digits
            assert not {fracture.fdi for fracture in mouth.fractures} & set(mouth.crowns)
        sizes = [caries.spot.radius for mouth in mouths for caries in mouth.caries]
        assert min(sizes) < 0.15
        assert max(sizes) > 0.9
        assert all(mouth.implants <= set(mouth.crowns) for mouth in mouths)


def test_plaque_and_redness_reach_between_a_line_and_most_of_the_crown() -> None:
    mouths = [sample_disease("permanent", True, numpy_generator("ill", n)) for n in range(60)]
    for reaches, least, most in (
        ([mouth.plaque_reach for mouth in mouths], 0.08, 0.55),
        ([mouth.redness_mm for mouth in mouths], 0.8, 3.5),
    ):
        assert least <= min(reaches) < least + 0.1 * (most - least)
        assert most >= max(reaches) > most - 0.1 * (most - least)


def test_a_healthy_mouth_is_one_of_the_survey() -> None:
    found = sample_disease("permanent", False, numpy_generator("well"))
    expected = sample_lesions("permanent", numpy_generator("well"))
    assert (found.fillings, found.crowns, found.caries) == (expected.fillings, expected.crowns, expected.caries)
    assert not found.fractures
    assert not found.white_spots
