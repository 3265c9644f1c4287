"""Findings: what a record counts is in its picture, and nothing else is counted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dentgen.conditions.metadata import read_metadata
from dentgen.conditions.phantom import Phantom, render_patient
from dentgen.conditions.phantom.camera import VIEWS
from dentgen.conditions.phantom.material import Material, sample_material
from dentgen.conditions.phantom.style import sample_shape
from dentgen.pipeline.phantoms import phantom_members
from dentgen.seeding import numpy_generator

#: 24 and 46 are missing, 46 would be filled; no restoration is to be seen.
GAPPED = 4
#: 16 and 36 are filled; no tooth is missing.
FILLED = 9
#: 21 is a crown.
CROWNED = 52


def views_of(number: int) -> dict[str, Phantom]:
    return {phantom.attributes["view"]: phantom for phantom in render_patient(7, number, 96)}


@pytest.fixture(scope="module")
def gapped() -> dict[str, Phantom]:
    return views_of(GAPPED)


@pytest.fixture(scope="module")
def filled() -> dict[str, Phantom]:
    return views_of(FILLED)


def material_of(number: int) -> Material:
    return sample_material(numpy_generator(7, f"s7-p{number:06d}", "material"))


def test_the_patients_are_what_the_tests_say() -> None:
    assert sample_shape(numpy_generator(7, "s7-p000004", "shape")).missing == {24, 46}
    assert not sample_shape(numpy_generator(7, "s7-p000009", "shape")).missing
    for number, fdi in ((GAPPED, [46]), (FILLED, [16, 36])):
        material = material_of(number)
        assert [filling.fdi for filling in material.fillings] == fdi
        assert not material.crowns


def test_gaps_are_counted_where_their_neighbours_stand(gapped: dict[str, Phantom]) -> None:
    for phantom in gapped.values():
        fdi = phantom.maps["fdi"]
        assert not np.isin(fdi, [24, 46]).any()
        seen = {number for number in (23, 25, 45, 47) if (fdi == number).mean() >= 0.002}
        assert phantom.findings == {"missing_teeth": ({23, 25} <= seen) + ({45, 47} <= seen), "restorations": 0}
    found = [gapped[view].findings["missing_teeth"] for view in VIEWS]
    assert found == [2, 1, 1, 1, 1], "across the mouth only slivers of teeth are to be seen"


def test_a_filling_is_counted_where_it_is_seen(filled: dict[str, Phantom]) -> None:
    """Biting surfaces show in occlusal views; between closed arches they do not."""
    found = {view: phantom.findings["restorations"] for view, phantom in filled.items()}
    assert found["upper-occlusal"] == found["lower-occlusal"] == 1
    assert found["frontal"] == 0
    assert {phantom.findings["missing_teeth"] for phantom in filled.values()} == {0}


def test_crowned_teeth_are_counted_in_every_view_that_shows_them() -> None:
    assert material_of(CROWNED).crowns == (21,)
    assert not material_of(CROWNED).fillings
    for phantom in render_patient(7, CROWNED, 64, ("frontal", "upper-occlusal", "lower-occlusal")):
        assert phantom.findings["restorations"] == (21 in phantom.maps["fdi"]), phantom.key


def test_findings_are_in_the_metadata_and_readers_take_it(gapped: dict[str, Phantom]) -> None:
    phantom = gapped["left"]
    content = phantom_members(phantom)["json"]
    metadata = json.loads(content)
    assert (metadata["missing_teeth"], metadata["restorations"]) == (1, 0)
    assert read_metadata("here", content).attributes == phantom.attributes
