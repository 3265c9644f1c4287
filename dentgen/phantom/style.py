"""The shape of one patient's mouth: size, arch, gaps, crowding, wear, recession, missing teeth and braces.

Shares of missing teeth follow dental surveys, which the README of this folder names; other ranges were chosen by eye.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dentgen.phantom.anatomy import Arch, Dentition

_LOSABLE = (14, 15, 16, 17, 24, 25, 26, 27, 35, 36, 37, 45, 46, 47)
#: Share of mouths that have lost teeth, and in those the share of back teeth lost: losses cluster in some mouths.
_LOSING_SHARE, _LOST_SHARE = 0.6, 0.14
_THIRD_MOLAR_SHARE = 0.35
_LOSABLE_DECIDUOUS = (51, 52, 54, 61, 62, 64, 74, 75, 84, 85)
_BRACED_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Shape:
    """Shape of one patient's mouth.

    Attributes:
        size: Factor on the size of every tooth.
        arch_width_mm: Width of the upper arch at its ends; the lower is 5 mm narrower.
        arch_tapering: 0 (square) to 0.4 (tapering).
        gap_mm: Mean space between neighbours.
        wear: Attrition, 0..1.
        recession_mm: Gum recession.
        papilla_loss: Share by which papillae are shortened.
        vestibule_mm: Height of the gum from the margin to the fold.
        crowding: Irregularity of the teeth, 0 (even) upwards.
        opening_mm: Gap between the arches.
        missing: FDI numbers of missing teeth.
        third_molars: Whether the upper and the lower third molars are present.
        dentition: Permanent or deciduous teeth.
        braced: Arches that wear a fixed appliance.
    """

    size: float
    arch_width_mm: float
    arch_tapering: float
    gap_mm: float
    wear: float
    recession_mm: float
    papilla_loss: float
    vestibule_mm: float
    crowding: float
    opening_mm: float
    missing: frozenset[int]
    third_molars: tuple[bool, bool]
    dentition: Dentition = "permanent"
    braced: frozenset[Arch] = frozenset()


def sample_shape(rng: np.random.Generator, braces: np.random.Generator | None = None) -> Shape:
    """Draw an adult's shape; ``braces`` is the random stream that decides on appliances, None means no braces."""
    return Shape(
        size=rng.normal(1.02, 0.035),
        arch_width_mm=rng.uniform(62, 68),
        arch_tapering=rng.uniform(0.0, 0.35),
        gap_mm=max(0.0, rng.normal(-0.1, 0.25)),
        wear=rng.uniform(0, 0.6),
        recession_mm=max(0.0, rng.normal(0.0, 0.7)),
        papilla_loss=max(0.0, rng.normal(0, 0.12)),
        vestibule_mm=rng.uniform(9, 13),
        crowding=abs(rng.normal(0, 0.35)),
        opening_mm=max(0.0, rng.normal(0, 1.3)),
        missing=_lost_teeth(rng),
        third_molars=(rng.random() < _THIRD_MOLAR_SHARE, rng.random() < _THIRD_MOLAR_SHARE),
        braced=frozenset() if braces is None else _braced_arches(braces),
    )


def sample_child_shape(rng: np.random.Generator) -> Shape:
    """Draw a child's shape: deciduous teeth, spaced and hardly crowded, occasionally one lost early."""
    return Shape(
        size=rng.normal(1, 0.045),
        arch_width_mm=rng.uniform(48, 53),
        arch_tapering=rng.uniform(0.05, 0.4),
        gap_mm=max(0.0, rng.normal(0.45, 0.35)),
        wear=rng.uniform(0, 0.8),
        recession_mm=0.0,
        papilla_loss=max(0.0, rng.normal(0.1, 0.1)),
        vestibule_mm=rng.uniform(6.5, 9),
        crowding=abs(rng.normal(0, 0.12)),
        opening_mm=max(0.0, rng.normal(0, 0.9)),
        missing=frozenset(fdi for fdi in _LOSABLE_DECIDUOUS if rng.random() < 0.02),
        third_molars=(False, False),
        dentition="deciduous",
    )


def _lost_teeth(rng: np.random.Generator) -> frozenset[int]:
    share = _LOST_SHARE if rng.random() < _LOSING_SHARE else 0.0
    return frozenset(fdi for fdi in _LOSABLE if rng.random() < share)


def _braced_arches(rng: np.random.Generator) -> frozenset[Arch]:
    if rng.random() >= _BRACED_SHARE:
        return frozenset()
    return frozenset(("upper",)) if rng.random() < 0.25 else frozenset(("upper", "lower"))
