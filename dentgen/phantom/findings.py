"""Findings visible in a picture: missing, restored and decayed teeth, braces, plaque and stain."""

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

#: Share of the picture from which a tooth, or a lesion or restoration on it, counts as visible: 33 and 3 pixels at 128.
_TOOTH_SHARE, _SPOT_SHARE = 2e-3, 2e-4
#: Likewise for plaque and stain, summed over their coverage, because both are thin films: 66 pixels at 128.
_FILM_SHARE = 4e-3


@dataclass(frozen=True, slots=True)
class Findings:
    """Findings in one picture.

    Attributes:
        counts: ``missing_teeth``: teeth missing between two visible ones (a tooth lost at the end of the arch leaves
            no visible gap); ``restorations`` and ``caries``: visible teeth with a filling or crown, or with decay.
        restorations: Kinds of visible restoration, sorted: keys of ``prompt.RESTORATION_WORDS``.
        signs: ``braces``, ``plaque`` and ``stain``, each "yes" or "no".
    """

    counts: dict[str, int]
    restorations: tuple[str, ...]
    signs: dict[str, str]


#: Findings of a picture that shows none.
NO_FINDINGS: Final = Findings(
    {"missing_teeth": 0, "restorations": 0, "caries": 0}, (), {"braces": "no", "plaque": "no", "stain": "no"}
)


def tell_findings(patient: Patient, material: Material, centres: Painted) -> Findings:
    """Find what a view shows.

    Args:
        patient: The mouth, for its gaps.
        material: Its lesions, for the kinds of restoration.
        centres: Painted samples at all pixel centres.
    """
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
    kinds |= {"veneer"} if lesions.veneers & restored - set(lesions.crowns) else set()
    braced = (centres.surface.tissue == Tissue.APPLIANCE).mean() >= _SPOT_SHARE
    plaque, stain = (float(film.mean()) >= _FILM_SHARE for film in (coat.plaque, coat.stain))
    signs = {"braces": braced, "plaque": plaque, "stain": stain}
    return Findings(
        counts={"missing_teeth": missing, "restorations": len(restored), "caries": len(decayed)},
        restorations=tuple(sorted(kinds)),
        signs={name: "yes" if sign else "no" for name, sign in signs.items()},
    )


def _visible(fdi: np.ndarray, amount: FloatArray, share: float) -> set[int]:
    """FDI numbers of the teeth whose amounts sum to at least ``share`` of the picture."""
    total = np.bincount(fdi, amount, minlength=1)
    return set(np.flatnonzero(total >= share * len(fdi)).tolist()) - {0}


def _gaps(dental_arch: DentalArch, seen: set[int]) -> int:
    """Number of empty slots between neighbouring teeth that are both in ``seen``."""
    standing = [place for place, slot in enumerate(dental_arch.slots) if slot.crown is not None]
    return sum(
        after - before - 1
        for before, after in pairwise(standing)
        if {dental_arch.slots[before].fdi, dental_arch.slots[after].fdi} <= seen
    )
