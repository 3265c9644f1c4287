"""Tables of the human dentitions: crown sizes, tooth posture, cusps and side-wall profiles.

Permanent crown sizes are Wheeler's drawing table, tip and torque follow Andrews; cusps and profiles were chosen by eye.
A deciduous tooth has its own size and the form of a permanent one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Arch = Literal["upper", "lower"]
Dentition = Literal["permanent", "deciduous"]
DENTITIONS: Final[tuple[Dentition, ...]] = get_args(Dentition)
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Crown height, mesiodistal and buccolingual diameter in mm, by position 1 (central incisor) to 8 (third molar).
CROWN_SIZE_MM: Final[dict[Arch, dict[int, tuple[float, float, float]]]] = {
    "upper": {
        1: (10.5, 8.5, 7.0), 2: (9.0, 6.5, 6.0), 3: (10.0, 7.5, 8.0), 4: (8.5, 7.0, 9.0),
        5: (8.5, 7.0, 9.0), 6: (7.5, 10.0, 11.0), 7: (7.0, 9.0, 11.0), 8: (6.5, 8.5, 10.0),
    },
    "lower": {
        1: (9.0, 5.0, 6.0), 2: (9.5, 5.5, 6.5), 3: (11.0, 7.0, 7.5), 4: (8.5, 7.0, 7.5),
        5: (8.0, 7.0, 8.0), 6: (7.5, 11.0, 10.5), 7: (7.0, 10.5, 10.0), 8: (7.0, 10.0, 9.5),
    },
}  # fmt: skip

#: The same for deciduous teeth, by position 1 (central incisor) to 5 (second molar); Black's table, recalled from
#: textbooks and not checked again.
DECIDUOUS_CROWN_SIZE_MM: Final[dict[Arch, dict[int, tuple[float, float, float]]]] = {
    "upper": {1: (6.0, 6.5, 5.0), 2: (5.6, 5.1, 4.0), 3: (6.5, 7.0, 7.0), 4: (5.1, 7.3, 8.5), 5: (5.7, 8.2, 10.0)},
    "lower": {1: (5.0, 4.2, 4.0), 2: (5.2, 4.1, 4.0), 3: (6.0, 5.0, 4.8), 4: (6.0, 7.7, 7.0), 5: (5.5, 9.9, 8.7)},
}
#: Permanent position whose form a deciduous tooth takes: its first molar resembles a premolar, its second a first
#: molar.
DECIDUOUS_FORM: Final[dict[int, int]] = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6}
#: Factor on tip level, buccal crest and gum cover of a deciduous mouth, about the ratio of crown heights.
DECIDUOUS_SCALE: Final = 0.62

#: Labiolingual inclination (torque) and mesial tip in degrees, positions 1 to 8.
TORQUE_DEG: Final[dict[Arch, tuple[float, ...]]] = {
    "upper": (7, 3, -5, -7, -7, -9, -9, -9),
    "lower": (-1, -1, -9, -14, -17, -22, -25, -25),
}
TIP_DEG: Final[dict[Arch, tuple[float, ...]]] = {
    "upper": (4, 7, 8, 2, 2, 4, 3, 0),
    "lower": (1, 1, 4, 2, 2, 2, 2, 2),
}
#: How far the tip reaches beyond the occlusal plane, mm.
TIP_LEVEL_MM: Final[dict[Arch, tuple[float, ...]]] = {
    "upper": (2.0, 1.4, 2.3, 0.95, 0.95, 0.95, 0.95, 0.95),
    "lower": (0.9, 0.9, 1.2, 0.95, 0.95, 0.95, 0.95, 0.95),
}
#: Distance from the arch line to the buccal crest of the crown, mm.
BUCCAL_CREST_MM: Final = (1.6, 1.5, 2.4, 2.5, 2.5, 2.7, 2.7, 2.5)
#: Height of crown covered by gum at mid-tooth, mm, and papilla height as a share of crown height.
GUM_COVER_MM: Final = (1.0, 1.3, 0.7, 1.5, 1.6, 1.5, 1.6, 2.0)
PAPILLA_SHARE: Final = (0.46, 0.46, 0.44, 0.40, 0.38, 0.33, 0.30, 0.25)


@dataclass(frozen=True, slots=True)
class Cusp:
    """A cusp cone.

    Attributes:
        mesial: Place along the arch in half crown widths, mesial positive.
        buccal: Place across the arch in half crown depths, buccal positive.
        height: Share of the crown height.
        slope: Fall per mm from the tip.
    """

    mesial: float
    buccal: float
    height: float
    slope: float


def _cusps(*rows: tuple[float, float, float, float]) -> tuple[Cusp, ...]:
    return tuple(Cusp(*row) for row in rows)


CUSPS: Final[dict[tuple[Arch, int], tuple[Cusp, ...]]] = {
    ("upper", 4): _cusps((0, 0.52, 1, 0.62), (0.06, -0.52, 0.92, 0.62)),
    ("upper", 5): _cusps((0, 0.5, 1, 0.58), (0.04, -0.5, 0.97, 0.58)),
    ("upper", 6): _cusps(
        (0.45, 0.52, 1, 0.62), (-0.42, 0.52, 0.95, 0.62), (0.40, -0.48, 1.0, 0.55), (-0.50, -0.55, 0.86, 0.6)
    ),
    ("upper", 7): _cusps(
        (0.45, 0.52, 1, 0.62), (-0.42, 0.50, 0.92, 0.62), (0.32, -0.45, 0.98, 0.55), (-0.55, -0.5, 0.78, 0.6)
    ),
    ("upper", 8): _cusps((0.40, 0.5, 0.95, 0.6), (-0.42, 0.45, 0.85, 0.6), (0.05, -0.45, 0.95, 0.55)),
    ("lower", 4): _cusps((0, 0.22, 1, 0.72), (0.05, -0.62, 0.66, 0.5)),
    ("lower", 5): _cusps((0, 0.38, 1, 0.62), (0.34, -0.52, 0.86, 0.55), (-0.36, -0.56, 0.82, 0.55)),
    ("lower", 6): _cusps(
        (0.55, 0.48, 0.95, 0.6), (-0.08, 0.55, 0.93, 0.6), (-0.66, 0.32, 0.86, 0.6),
        (0.46, -0.5, 1.0, 0.6), (-0.42, -0.5, 0.97, 0.6),
    ),
    ("lower", 7): _cusps(
        (0.48, 0.5, 0.97, 0.6), (-0.46, 0.5, 0.94, 0.6), (0.46, -0.5, 1.0, 0.6), (-0.46, -0.5, 0.97, 0.6)
    ),
    ("lower", 8): _cusps(
        (0.45, 0.5, 0.95, 0.6), (-0.46, 0.45, 0.9, 0.6), (0.42, -0.5, 0.96, 0.6), (-0.42, -0.5, 0.9, 0.6)
    ),
}  # fmt: skip

_KNOTS = (-0.7, -0.35, 0.0, 0.25, 0.5, 0.75, 0.92, 1.0)
_INCISOR_BUCCAL = (0.35, 0.42, 0.50, 0.56, 0.52, 0.40, 0.26, 0.16)
_INCISOR_LINGUAL = (-1.2, -1.35, -1.44, -1.38, -0.98, -0.52, -0.28, -0.17)
_INCISOR_EXPONENT = (2, 2, 2.1, 2.3, 2.5, 2.8, 3, 3)


@dataclass(frozen=True, slots=True)
class SideWall:
    """Superellipse rings of a crown over height t (-0.7 root end, 0 cervix, 1 rim).

    Attributes:
        half_width: Half width of a ring, relative to half the mesiodistal diameter.
        buccal: Buccal end of a ring, relative to half the buccolingual diameter.
        lingual: Lingual end, likewise; negative.
        exponent: Exponent of the superellipse; 2 is an ellipse.
    """

    half_width: PchipInterpolator
    buccal: PchipInterpolator
    lingual: PchipInterpolator
    exponent: PchipInterpolator


@cache
def side_wall(arch: Arch, position: int) -> SideWall:
    """Side-wall profile of a tooth class."""
    rows: tuple[tuple[float, ...], ...]
    if position <= 2:
        width = (
            (0.55, 0.72, 0.84, 0.90, 0.96, 1.0, 0.985, 0.93)
            if arch == "upper"
            else (0.5, 0.62, 0.74, 0.83, 0.92, 0.985, 1.0, 0.96)
        )
        rows = (width, _INCISOR_BUCCAL, _INCISOR_LINGUAL, _INCISOR_EXPONENT)
    elif position == 3:
        rows = (
            (0.5, 0.65, 0.76, 0.87, 0.96, 1.0, 0.93, 0.80),
            (0.45, 0.52, 0.60, 0.66, 0.64, 0.50, 0.32, 0.20),
            (-1.1, -1.25, -1.34, -1.3, -1.05, -0.7, -0.38, -0.22),
            (2, 2, 2.0, 2.1, 2.1, 2.1, 2.2, 2.2),
        )
    elif position <= 5:
        rows = (
            (0.55, 0.64, 0.74, 0.86, 0.96, 1.0, 0.985, 0.93),
            (0.65, 0.80, 0.92, 1.0, 0.98, 0.92, 0.86, 0.80),
            (-0.65, -0.8, -0.90, -0.96, -1.0, -0.95, -0.88, -0.80),
            (2, 2, 2.1, 2.3, 2.5, 2.6, 2.6, 2.6),
        )
    else:
        rows = (
            (0.7, 0.75, 0.82, 0.9, 0.97, 1.0, 0.97, 0.92),
            (0.75, 0.84, 0.93, 1.0, 0.97, 0.92, 0.87, 0.82),
            (-0.72, -0.82, -0.92, -0.97, -1.0, -0.96, -0.90, -0.84),
            (2.2, 2.4, 2.6, 2.8, 2.9, 3, 3, 3),
        )
    return SideWall(*(PchipInterpolator(_KNOTS, row) for row in rows))


def fdi_number(arch: Arch, position: int, side: int, dentition: Dentition = "permanent") -> int:
    """FDI number of a tooth.

    Args:
        arch: Upper or lower.
        position: 1 (central incisor) to 8, or to 5 in the deciduous dentition.
        side: +1 on the patient's left, -1 on the right.
        dentition: Permanent or deciduous teeth.
    """
    quadrant = {("upper", -1): 1, ("upper", 1): 2, ("lower", 1): 3, ("lower", -1): 4}[arch, side]
    return 10 * (quadrant + (4 if dentition == "deciduous" else 0)) + position
