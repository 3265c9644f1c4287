"""What varies between patients in shape: sampled once per patient, shared by all its views.

Holds the patient's habits (crowding, wear, gaps, missing teeth) and refuses to know meshes and colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LOSABLE = (14, 15, 16, 24, 25, 26, 35, 36, 45, 46, 47)


@dataclass(frozen=True, slots=True)
class Shape:
    """Shape of one patient's mouth.

    Attributes:
        size: Factor on every tooth.
        arch_width_mm: Width of the upper arch at its end; the lower is 5 mm narrower.
        arch_squareness: 0.3 (square) to 0.7 (tapering) mix of the arch's polynomial.
        gap_mm: Mean space between neighbours.
        wear: 0..1 attrition.
        recession_mm: Gum recession.
        papilla_loss: Share by which papillae are shorter.
        vestibule_mm: Height of the gum before the fold.
        crowding: 0 (even) upwards.
        opening_mm: Gap between the arches.
        missing: FDI numbers of missing teeth.
        third_molars: Upper and lower wisdom teeth present.
    """

    size: float
    arch_width_mm: float
    arch_squareness: float
    gap_mm: float
    wear: float
    recession_mm: float
    papilla_loss: float
    vestibule_mm: float
    crowding: float
    opening_mm: float
    missing: frozenset[int]
    third_molars: tuple[bool, bool]


def sample_shape(rng: np.random.Generator) -> Shape:
    """Draw a patient's shape."""
    return Shape(
        size=rng.normal(1, 0.035),
        arch_width_mm=rng.uniform(57, 63),
        arch_squareness=rng.uniform(0.3, 0.7),
        gap_mm=max(0.0, rng.normal(-0.1, 0.25)),
        wear=rng.uniform(0, 0.6),
        recession_mm=max(0.0, rng.normal(-0.2, 0.6)),
        papilla_loss=max(0.0, rng.normal(0, 0.12)),
        vestibule_mm=rng.uniform(9, 13),
        crowding=abs(rng.normal(0, 0.35)),
        opening_mm=max(0.0, rng.normal(0, 1.3)),
        missing=frozenset(fdi for fdi in _LOSABLE if rng.random() < 0.035),
        third_molars=(rng.random() < 0.2, rng.random() < 0.2),
    )
