"""What can be counted in a picture: missing teeth and restored ones. Refuses to count what the camera does not see."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from dentgen.conditions.phantom.anatomy import FloatArray
from dentgen.conditions.phantom.arch import DentalArch
from dentgen.conditions.phantom.patient import Patient
from dentgen.conditions.phantom.shading import Painted

#: Shares of the picture from which a tooth or a restoration counts as seen: 33 and 3 pixels at 128.
_TOOTH_SHARE, _RESTORATION_SHARE = 2e-3, 2e-4


def count_findings(patient: Patient, centres: Painted) -> dict[str, int]:
    """Findings by name; ``centres`` are the painted samples at all pixel centres.

    ``missing_teeth`` counts those between two standing teeth that are both in the picture: a tooth lost at the arch's
    end leaves no gap to see. ``restorations`` counts teeth whose crown or filling is in the picture.
    """
    fdi = centres.surface.fdi
    seen = _visible(fdi, np.ones(len(fdi)), _TOOTH_SHARE)
    restored = _visible(fdi, centres.coat.restored, _RESTORATION_SHARE)
    missing = sum(_gaps(jaw.teeth, seen) for jaw in (patient.upper, patient.lower))
    return {"missing_teeth": missing, "restorations": len(restored)}


def _visible(fdi: np.ndarray, amount: FloatArray, share: float) -> set[int]:
    """Teeth whose amounts sum to at least ``share`` of the picture."""
    total = np.bincount(fdi, amount, minlength=1)
    return set(np.flatnonzero(total >= share * len(fdi)).tolist()) - {0}


def _gaps(dental_arch: DentalArch, seen: set[int]) -> int:
    """Empty slots between teeth that stand next to each other in ``seen``."""
    standing = [place for place, slot in enumerate(dental_arch.slots) if slot.crown is not None]
    return sum(
        after - before - 1
        for before, after in pairwise(standing)
        if {dental_arch.slots[before].fdi, dental_arch.slots[after].fdi} <= seen
    )
