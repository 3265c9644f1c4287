"""Broken crowns lose what is above the broken face, and nothing else moves."""

from __future__ import annotations

import numpy as np
import pytest

from dentgen.phantom.fracture import break_teeth
from dentgen.phantom.lesions import Fracture
from tests.phantom.surroundings.patients import patient


@pytest.mark.parametrize("jaw", ["upper", "lower"])
def test_the_lost_share_is_cut_off(jaw: str) -> None:
    arch = patient().upper.teeth if jaw == "upper" else patient().lower.teeth
    whole = next(slot for slot in arch.slots if slot.form == 6 and slot.vertices is not None)
    broken_arch = break_teeth(arch, [Fracture(whole.fdi, 0.5, (0.0, 0.0))])
    broken = next(slot for slot in broken_arch.slots if slot.fdi == whole.fdi)
    assert whole.vertices is not None
    assert broken.vertices is not None
    assert broken.broken is not None
    up = -arch.rootwards
    lost = (whole.vertices @ up).max() - (broken.vertices @ up).max()
    assert lost == pytest.approx(0.5 * whole.size.height, abs=0.6)
    moved = np.linalg.norm(broken.vertices - whole.vertices, axis=1)
    assert (broken.broken == (moved > 0.1)).all()
    assert 0.1 < broken.broken.mean() < 0.9
    sideways = (broken.vertices - whole.vertices) - ((broken.vertices - whole.vertices) @ up)[:, None] * up
    assert np.abs(sideways).max() < 1e-9


def test_other_teeth_and_absent_ones_stay() -> None:
    arch = patient().upper.teeth
    broken = break_teeth(arch, [Fracture(99, 0.5, (0.0, 0.0))])
    assert broken.slots == arch.slots
