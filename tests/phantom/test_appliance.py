"""Brackets sit on the faces of the front teeth, and the wire runs through them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from dentgen.phantom.anatomy import Arch
from dentgen.phantom.appliance import ELASTIC, METAL, build_appliance
from dentgen.phantom.arch import DentalArch
from dentgen.phantom.mesh import Part, Tissue
from tests.phantom.surfaces import posed_teeth, shape

ARCHES: tuple[Arch, ...] = ("upper", "lower")
PARTS_PER_TOOTH = 4  # pad, two wings, ligature


def bracketed(teeth: DentalArch) -> list[int]:
    """FDI numbers of the present teeth up to the first molars."""
    return [slot.fdi for slot in teeth.slots if slot.vertices is not None and slot.fdi % 10 <= 6]


@pytest.mark.parametrize("arch", ARCHES)
def test_every_tooth_up_to_the_first_molars_has_a_bracket_and_all_share_a_wire(arch: Arch) -> None:
    teeth = posed_teeth(arch)
    parts = build_appliance(teeth)
    assert len(parts) == PARTS_PER_TOOTH * len(bracketed(teeth)) + 1
    assert {part.tissue for part in parts} == {Tissue.APPLIANCE}
    assert {part.fdi for part in parts} == {0}, "a bracket hides its tooth"


@pytest.mark.parametrize("arch", ARCHES)
def test_brackets_touch_the_buccal_side_of_their_crowns(arch: Arch) -> None:
    teeth = posed_teeth(arch)
    pads = build_appliance(teeth)[:-1:PARTS_PER_TOOTH]
    slots = {slot.fdi: slot for slot in teeth.slots}
    for fdi, pad in zip(bracketed(teeth), pads, strict=True):
        slot = slots[fdi]
        assert slot.vertices is not None
        assert slot.crown is not None
        distance, nearest = cKDTree(slot.vertices).query(pad.vertices.mean(0))
        assert distance < 1.0
        assert slot.crown.outward[nearest] > 0
        assert 0.3 < slot.crown.height[nearest] < 0.75


def by_material(parts: tuple[Part, ...]) -> dict[float, int]:
    materials = [float(part.attributes["height"][0]) for part in parts]
    return {material: materials.count(material) for material in set(materials)}


@pytest.mark.parametrize("arch", ARCHES)
def test_only_ligatures_are_elastic(arch: Arch) -> None:
    count = len(bracketed(posed_teeth(arch)))
    assert by_material(build_appliance(posed_teeth(arch))) == {ELASTIC: count, METAL: 3 * count + 1}


@pytest.mark.parametrize("arch", ARCHES)
def test_the_wire_is_a_round_tube_through_the_slots(arch: Arch) -> None:
    """Its cross sections are circles of 0.24 mm, and it passes every bracket within its wings."""
    teeth = posed_teeth(arch)
    *brackets, wire = build_appliance(teeth)
    tube = wire.vertices.reshape(9, -1, 3)
    centre = tube[:-1].mean(0)
    assert np.allclose(np.linalg.norm(tube - centre, axis=-1), 0.24, atol=1e-6)
    for pad in brackets[::PARTS_PER_TOOTH]:
        assert cKDTree(centre).query(pad.vertices.mean(0))[0] < 1.5


def test_gaps_carry_no_bracket_and_a_single_tooth_no_wire() -> None:
    gapped = posed_teeth("upper", replace(shape(), missing=frozenset({11, 14})))
    assert len(build_appliance(gapped)) == PARTS_PER_TOOTH * len(bracketed(gapped)) + 1
    alone = replace(gapped, slots=tuple(slot for slot in gapped.slots if slot.fdi == 21))
    assert len(build_appliance(alone)) == PARTS_PER_TOOTH
    assert build_appliance(replace(gapped, slots=())) == ()
