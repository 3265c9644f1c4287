"""Mouths: complete dentitions, closed bites, and the meshes that each view can see."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.camera import VIEWS, View
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.patient import Patient, build_patient


@pytest.fixture(scope="module")
def braced() -> Patient:
    """Wears braces on both arches."""
    return build_patient(7, "s7-p000002")


def test_children_have_slots_for_twenty_teeth() -> None:
    numbers = {10 * quadrant + position for quadrant in (5, 6, 7, 8) for position in range(1, 6)}
    patient = build_patient(6, "s6-c000000", "deciduous")
    slots = [slot for jaw in (patient.upper, patient.lower) for slot in jaw.teeth.slots]
    assert {slot.fdi for slot in slots} == numbers
    assert {slot.fdi for slot in slots if slot.crown is None} == patient.shape.missing
    assert patient.scale < 0.9


def test_equal_names_give_equal_mouths_and_other_names_others(braced: Patient) -> None:
    again, other = build_patient(7, "s7-p000002"), build_patient(8, "s7-p000002")
    assert (again.upper.gum.part.vertices == braced.upper.gum.part.vertices).all()
    assert again.shape == braced.shape != other.shape


@pytest.mark.parametrize("view", VIEWS)
def test_views_see_one_jaw_with_cheeks_or_both(braced: Patient, view: View) -> None:
    quadrants = {part.fdi // 10 for part in braced.visible_parts(view)} - {0}
    expected = {"upper-occlusal": {1, 2}, "lower-occlusal": {3, 4}}.get(view, {1, 2, 3, 4})
    assert quadrants == expected


@pytest.mark.parametrize("view", VIEWS)
def test_casts_consist_of_teeth_appliance_and_gum(braced: Patient, view: View) -> None:
    assert {part.tissue for part in braced.cast_parts(view)} == {Tissue.TOOTH, Tissue.APPLIANCE, Tissue.GUM}


def test_the_lower_jaw_is_opened_by_the_bite_opening() -> None:
    patient = next(p for n in range(20) if (p := build_patient(3, f"s3-p{n:06d}")).shape.opening_mm > 1)
    seen = {part.fdi: part for part in patient.visible_parts("frontal") if part.fdi}
    for part in patient.lower.teeth.tooth_parts():
        shift = seen[part.fdi].vertices - part.vertices
        assert np.allclose(shift, [0, -patient.shape.opening_mm, 0])
    for part in patient.upper.teeth.tooth_parts():
        assert (seen[part.fdi].vertices == part.vertices).all()


def test_lower_incisors_stand_behind_upper_ones(braced: Patient) -> None:
    assert braced.front_mm == braced.upper.teeth.front_mm
    assert 1 < braced.upper.teeth.front_mm - braced.lower.teeth.front_mm < 6
