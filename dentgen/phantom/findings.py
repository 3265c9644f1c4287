"""What can be told of a picture: teeth missing, restored, decayed, banded; plaque and stain.

Refuses to count what the camera does not see.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.arch import DentalArch
from dentgen.phantom.material import Material
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.patient import Patient
from dentgen.phantom.shading import Painted

#: Shares of the picture from which a tooth, or what is on it, counts as seen: 33 and 3 pixels at 128.
_TOOTH_SHARE, _SPOT_SHARE = 2e-3, 2e-4
#: The same of plaque and of stain: 66 pixels at 128, for both are thin films.
_FILM_SHARE = 4e-3


@dataclass(frozen=True, slots=True)
class Findings:
    """What a picture shows.

    Attributes:
        counts: ``missing_teeth`` between two standing teeth that are both in the picture (a tooth lost at the arch's
            end leaves no gap to see); ``restorations`` and ``caries``: teeth with a filling or crown, or decay, in the
            picture.
        restorations: Kinds of restoration in the picture: amalgam, composite, ceramic, gold.
        signs: ``braces``, ``plaque``, ``stain``: yes or no.
    """

    counts: dict[str, int]
    restorations: tuple[str, ...]
    signs: dict[str, str]


#: A picture that shows none.
NO_FINDINGS: Final = Findings(
    {"missing_teeth": 0, "restorations": 0, "caries": 0}, (), {"braces": "no", "plaque": "no", "stain": "no"}
)


def tell_findings(patient: Patient, material: Material, centres: Painted) -> Findings:
    """Findings of a view; ``centres`` are the painted samples at all pixel centres."""
    fdi, coat = centres.surface.fdi, centres.coat
    seen = _visible(fdi, np.ones(len(fdi)), _TOOTH_SHARE)
    restored = _visible(fdi, coat.restored, _SPOT_SHARE)
    decayed = _visible(fdi, coat.decayed * (coat.restored < 0.5), _SPOT_SHARE)
    missing = sum(_gaps(jaw.teeth, seen) for jaw in (patient.upper, patient.lower))
    lesions = material.lesions
    kinds: set[str] = {
        filling.kind for filling in lesions.fillings if filling.spot.fdi in restored - set(lesions.crowns)
    }
    kinds |= {kind for crowned, kind in lesions.crowns.items() if crowned in restored}
    banded = (centres.surface.tissue == Tissue.APPLIANCE).mean() >= _SPOT_SHARE
    plaque, stain = (float(film.mean()) >= _FILM_SHARE for film in (coat.plaque, coat.stain))
    signs = {"braces": banded, "plaque": plaque, "stain": stain}
    return Findings(
        counts={"missing_teeth": missing, "restorations": len(restored), "caries": len(decayed)},
        restorations=tuple(sorted(kinds)),
        signs={name: "yes" if sign else "no" for name, sign in signs.items()},
    )


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
