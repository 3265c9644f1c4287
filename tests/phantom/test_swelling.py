"""Gum swells at its margin, outwards, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.mesh import oriented_normals
from dentgen.phantom.swelling import with_swollen_gum
from tests.phantom.surroundings.patients import patient


@pytest.mark.parametrize("inflammation", [0.0, 0.5, 0.7])
def test_sound_gum_stays_as_it_is(inflammation: float) -> None:
    assert with_swollen_gum(patient(), inflammation) is patient()


def test_inflamed_gum_is_thicker_near_its_margin_and_nothing_else_moves() -> None:
    mild, severe = (with_swollen_gum(patient(), amount) for amount in (1.0, 1.6))
    for before, some, most in (
        (patient().upper, mild.upper, severe.upper),
        (patient().lower, mild.lower, severe.lower),
    ):
        part, margin = before.gum.part, before.gum.part.attributes["margin_mm"]
        moved = most.gum.part.vertices - part.vertices
        outwards = (moved * oriented_normals(part)).sum(1)
        assert np.allclose(np.linalg.norm(moved, axis=1), outwards, atol=1e-9)
        near, far = (margin > 0.3) & (margin < 1.2), (margin > 4) | (margin <= 0)
        assert 0.6 < outwards[near].min() <= outwards[near].max() < 0.9
        assert outwards[far].max() < 0.01
        less = np.linalg.norm(some.gum.part.vertices - part.vertices, axis=1)
        assert np.allclose(less, outwards / 3), "by the amount above 0.7"
        assert most.teeth is before.teeth
        assert most.gum.lingual_edge is before.gum.lingual_edge
