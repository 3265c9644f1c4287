"""Open cavities are pressed into the crown where the decay is, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.hollow import OPEN_FROM, hollow_teeth
from dentgen.phantom.lesions import Caries, Spot, spot_distance
from tests.phantom.surroundings.patients import patient


def moved(spot: Spot, depth: float, jaw: str = "upper") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Displacements (V, 3) of a tooth, its distances (V,) from a spot and the rootward direction."""
    arch = patient().upper.teeth if jaw == "upper" else patient().lower.teeth
    whole = next(slot for slot in arch.slots if slot.fdi == spot.fdi)
    hollow = next(slot for slot in hollow_teeth(arch, [Caries(spot, depth)]).slots if slot.fdi == spot.fdi)
    assert whole.vertices is not None
    assert whole.crown is not None
    assert hollow.vertices is not None
    crown = whole.crown
    distance = spot_distance(spot, crown.mesial, crown.outward, crown.height, crown.fissure)
    return hollow.vertices - whole.vertices, distance, arch.rootwards


def first_molar(jaw: str) -> int:
    arch = patient().upper.teeth if jaw == "upper" else patient().lower.teeth
    return next(slot.fdi for slot in arch.slots if slot.form == 6 and slot.vertices is not None)


@pytest.mark.parametrize("jaw", ["upper", "lower"])
def test_the_biting_surface_sinks_towards_the_root(jaw: str) -> None:
    shift, distance, rootwards = moved(Spot(first_molar(jaw), "occlusal", 0.0, 0.0, 0.5), 1.0, jaw)
    length = np.linalg.norm(shift, axis=1)
    assert (length[distance > 0.5] == 0).all()
    assert (length[distance < 0.3] > 0.5).all()
    assert length.max() <= 2.4
    np.testing.assert_allclose(shift @ rootwards, length, atol=1e-9)


def test_a_facial_hollow_points_to_the_axis_and_keeps_its_height() -> None:
    shift, distance, rootwards = moved(Spot(first_molar("upper"), "facial", 0.0, 0.4, 0.4), 1.0)
    assert (np.linalg.norm(shift[distance < 0.25], axis=1) > 0.3).all()
    np.testing.assert_allclose(shift @ rootwards, 0, atol=1e-9)


def test_shallow_decay_and_other_teeth_keep_their_shape() -> None:
    shift, _, _ = moved(Spot(first_molar("upper"), "occlusal", 0.0, 0.0, 0.5), OPEN_FROM - 0.01)
    assert not shift.any()
    arch = patient().upper.teeth
    assert hollow_teeth(arch, [Caries(Spot(99, "occlusal", 0, 0, 0.5), 1.0)]).slots == arch.slots
