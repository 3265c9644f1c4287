"""Teeth stand in order along an arch that is exactly as long as they are wide."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from dentgen.phantom.anatomy import DENTITIONS, Arch, Dentition
from dentgen.phantom.patient import build_patient
from tests.phantom.orders import arch_order
from tests.phantom.surfaces import posed_teeth, shape

PATIENTS = range(40, 44)


@pytest.mark.parametrize("dentition", DENTITIONS)
@pytest.mark.parametrize("number", PATIENTS)
def test_teeth_stand_in_order_along_the_arch(number: int, dentition: Dentition) -> None:
    """Their angle around the middle of the arch grows from the patient's right to the left."""
    patient = build_patient(5, f"s5-p{number:06d}", dentition)
    for jaw in (patient.upper, patient.lower):
        present = [slot for slot in jaw.teeth.slots if slot.vertices is not None]
        order = arch_order(jaw.teeth.arch, dentition)
        places = [order.index(slot.fdi) for slot in present]
        assert places == sorted(places)
        middle = np.array([0.0, 0.0, jaw.teeth.front_mm - 30.0])
        offsets = [slot.vertices.mean(0) - middle for slot in present if slot.vertices is not None]
        angles = [np.arctan2(offset[0], offset[2]) for offset in offsets]
        assert all(a < b for a, b in pairwise(angles))


@pytest.mark.parametrize("dentition", DENTITIONS)
def test_mesial_sides_face_the_midline(dentition: Dentition) -> None:
    patient = build_patient(5, "s5-p000040", dentition)
    for jaw in (patient.upper, patient.lower):
        for slot in jaw.teeth.slots:
            if slot.crown is None or slot.vertices is None:
                continue
            _, tangent, _ = jaw.teeth.curve.frame(np.array([slot.s]))
            along = slot.vertices @ tangent[0] * -slot.side  # grows towards the midline
            assert along[slot.crown.mesial > 0.5].mean() > along[slot.crown.mesial < -0.5].mean(), slot.fdi


@pytest.mark.parametrize("arch", ["upper", "lower"])
def test_neighbouring_slots_touch(arch: Arch) -> None:
    slots = posed_teeth(arch).slots
    for left, right in pairwise(slots):
        assert left.s + left.width_mm / 2 == pytest.approx(right.s - right.width_mm / 2, abs=0.1)


@pytest.mark.parametrize("arch", ["upper", "lower"])
def test_the_curve_is_as_long_as_its_teeth_and_parametrised_by_length(arch: Arch) -> None:
    """Oracle: the length of a fine polygon."""
    teeth = posed_teeth(arch)
    s = np.linspace(-teeth.curve.half_length_mm, teeth.curve.half_length_mm, 20_001)
    point, tangent, normal = teeth.curve.frame(s)
    length = np.linalg.norm(np.diff(point, axis=0), axis=1)
    assert length.sum() == pytest.approx(2 * teeth.curve.half_length_mm, abs=0.05)
    assert length.max() / length.min() == pytest.approx(1, abs=0.02)
    assert length.sum() == pytest.approx(sum(slot.width_mm for slot in teeth.slots) + 2 * 1.5, abs=0.05)
    assert np.allclose((tangent * normal).sum(1), 0, atol=1e-12)
    assert (normal[len(s) // 2] @ [0, 0, 1]) > 0.99, "the front of the arch faces the viewer"


def test_crowns_point_away_from_the_root() -> None:
    for arch, up in (("upper", 1.0), ("lower", -1.0)):
        teeth = posed_teeth(arch)  # type: ignore[arg-type]
        assert teeth.rootwards.tolist() == [0.0, up, 0.0]
        for slot in teeth.slots:
            if slot.vertices is not None and slot.crown is not None:
                root, tip = slot.vertices[slot.crown.height < 0], slot.vertices[slot.crown.height > 0.8]
                assert (root.mean(0) - tip.mean(0)) @ teeth.rootwards > 3


def test_missing_teeth_have_a_slot_without_a_mesh() -> None:
    gapped = replace(shape(), missing=frozenset({14, 16}))
    slots = {slot.fdi: slot for slot in posed_teeth("upper", gapped).slots}
    assert {fdi for fdi, slot in slots.items() if slot.crown is None} == {14, 16}
    assert {part.fdi for part in posed_teeth("upper", gapped).tooth_parts()} == set(slots) - {14, 16}
