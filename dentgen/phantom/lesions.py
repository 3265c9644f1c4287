"""Fillings, crowns, caries, plaque and stain of one patient.

Prevalences follow dental surveys where there are any; the README of this folder names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from dentgen.phantom.anatomy import Dentition, FloatArray

FillingKind = Literal["amalgam", "composite", "ceramic inlay", "gold inlay"]
CrownKind = Literal["ceramic", "gold"]
Surface = Literal["occlusal", "facial"]

#: Share of mouths with any filling; in those, share of teeth with one on the biting surface, by FDI position, or on the
#: facial side.
_TREATED_SHARE: Final = 0.85
_OCCLUSAL_FILLING_SHARE: Final = {5: 0.13, 6: 0.38, 7: 0.28}
_FACIAL_FILLING_SHARE: Final = 0.025
_AMALGAM_SHARE: Final = 0.5
_CROWN_SHARE: Final = {1: 0.03, 2: 0.015, 5: 0.02, 6: 0.035}
_GOLD_SHARE: Final = 0.4
_CARIOUS_SHARE, _CARIOUS_CHILD_SHARE = 0.27, 0.30
#: Radius from which a facial spot is not confined to the facial side.
_WIDE: Final = 0.6
_PLAQUE_SHARE, _STAIN_SHARE = 0.35, 0.12
#: How often patches of plaque and inflamed gum follow each other: every other tooth or two.
PATCHES_PER_MM: Final = 0.07


@dataclass(frozen=True, slots=True)
class Spot:
    """A roughly round area on one crown.

    Attributes:
        fdi: FDI number of the tooth.
        surface: Biting surface, or the facial side, towards lip or cheek.
        mesial: Place along the arch in half crown widths, mesial positive.
        across: On the biting surface: place across the arch in half crown depths, buccal positive. On the facial side:
            height as a share of the crown's.
        radius: Radius in half crown widths.
    """

    fdi: int
    surface: Surface
    mesial: float
    across: float
    radius: float


@dataclass(frozen=True, slots=True)
class Filling:
    """A filling: where it is and what it is made of."""

    spot: Spot
    kind: FillingKind


@dataclass(frozen=True, slots=True)
class Caries:
    """A carious lesion.

    Attributes:
        spot: Where it is.
        depth: 0 (brown) to 1 (a dark cavity).
        soft: Amount of yellow to brown dentine that lies open in a cavity, 0..1; 0 is evenly dark.
    """

    spot: Spot
    depth: float
    soft: float = 0.0


@dataclass(frozen=True, slots=True)
class Fracture:
    """A broken crown.

    Attributes:
        fdi: FDI number of the tooth.
        lost: Share of the crown's height that is lost in the middle, 0..1.
        slope: (along the arch, across it) rise of the broken face, mm per mm.
    """

    fdi: int
    lost: float
    slope: tuple[float, float]


#: How far a film of plaque or stain reaches from the gum line, share of the crown's height.
FILM_REACH: Final = 0.12
#: How wide a red margin is, mm.
MARGIN_MM: Final = 0.8


@dataclass(frozen=True, slots=True)
class Lesions:
    """Lesions and restorations of one patient.

    Attributes:
        fillings: All fillings.
        crowns: Kind of crown by FDI number.
        caries: All carious lesions.
        plaque, stain: Amount on all teeth, 0..1.
        white_spots: Chalky beginnings of decay.
        leaking: FDI numbers of the teeth whose fillings have brown margins.
        calculus: Amount at the necks of the teeth, 0..1.
        fractures: Broken crowns.
        veneers: FDI numbers of the teeth with a ceramic shell on their facial side.
        implants: FDI numbers of the crowns that stand on implants, whose metal may show at the gum.
        fluorosis: Amount of chalky and brown mottling of all teeth, 0..1.
        patchy: Plaque and inflamed gum are found beside some teeth only.
        severe: Plaque is thick and yellow and inflamed gum deep red wherever they are labelled, not a thin film and a
            touch of red.
        plaque_reach: How far severe plaque reaches from the gum line, share of the crown's height.
        redness_mm: Distance from the margin, mm, at which 37 % of the redness of inflamed gum is left; strong
            inflammation adds to it.
    """

    fillings: tuple[Filling, ...]
    crowns: dict[int, CrownKind]
    caries: tuple[Caries, ...]
    plaque: float
    stain: float
    white_spots: tuple[Spot, ...] = ()
    leaking: frozenset[int] = frozenset()
    calculus: float = 0.0
    fractures: tuple[Fracture, ...] = ()
    veneers: frozenset[int] = frozenset()
    implants: frozenset[int] = frozenset()
    fluorosis: float = 0.0
    patchy: bool = False
    severe: bool = False
    plaque_reach: float = FILM_REACH
    redness_mm: float = MARGIN_MM

    @property
    def diseased(self) -> frozenset[int]:
        """FDI numbers of the decayed and broken teeth."""
        return frozenset({caries.spot.fdi for caries in self.caries} | {broken.fdi for broken in self.fractures})


def sample_lesions(dentition: Dentition, rng: np.random.Generator) -> Lesions:
    """Draw a patient's lesions; children get neither fillings nor crowns."""
    adult = dentition == "permanent"
    quadrants = (1, 2, 3, 4) if adult else (5, 6, 7, 8)
    teeth = [10 * quadrant + position for quadrant in quadrants for position in range(1, 8 if adult else 6)]
    return Lesions(
        fillings=_fillings(teeth, rng) if adult else (),
        crowns=_crowns(teeth, rng) if adult else {},
        caries=_caries(teeth, _CARIOUS_SHARE if adult else _CARIOUS_CHILD_SHARE, rng),
        plaque=rng.uniform(0.35, 1.0) if rng.random() < _PLAQUE_SHARE else 0.0,
        stain=rng.uniform(0.4, 1.0) if rng.random() < _STAIN_SHARE else 0.0,
    )


def _fillings(teeth: list[int], rng: np.random.Generator) -> tuple[Filling, ...]:
    fillings: list[Filling] = []
    if rng.random() >= _TREATED_SHARE:
        return ()
    for fdi in teeth:
        if rng.random() < _OCCLUSAL_FILLING_SHARE.get(fdi % 10, 0.0):
            spot = Spot(fdi, "occlusal", rng.normal(0, 0.08), rng.normal(-0.02, 0.08), rng.uniform(0.2, 0.42))
            fillings.append(Filling(spot, "amalgam" if rng.random() < _AMALGAM_SHARE else "composite"))
        elif rng.random() < _FACIAL_FILLING_SHARE:
            spot = Spot(fdi, "facial", rng.normal(0, 0.1), rng.uniform(0.12, 0.24), rng.uniform(0.3, 0.5))
            fillings.append(Filling(spot, "composite"))
    return tuple(fillings)


def _crowns(teeth: list[int], rng: np.random.Generator) -> dict[int, CrownKind]:
    """Crowned teeth; lower front teeth are excluded, because they hardly ever are."""
    candidates = [fdi for fdi in teeth if fdi % 10 > 3 or fdi < 30]
    crowned = [fdi for fdi in candidates if rng.random() < _CROWN_SHARE.get(fdi % 10, 0.0)]
    return {fdi: "gold" if fdi % 10 > 3 and rng.random() < _GOLD_SHARE else "ceramic" for fdi in crowned}


def _caries(teeth: list[int], share: float, rng: np.random.Generator) -> tuple[Caries, ...]:
    """Carious lesions: in the fissures of back teeth, at the cervix and next to the contacts of all."""
    if rng.random() >= share:
        return ()
    chosen = rng.choice(teeth, size=int(rng.integers(1, 5)), replace=False)
    return tuple(Caries(_decayed_spot(int(fdi), rng), rng.uniform(0.3, 1.0)) for fdi in chosen)


def _decayed_spot(fdi: int, rng: np.random.Generator) -> Spot:
    radius = rng.uniform(0.14, 0.36)
    if fdi % 10 >= 4 and rng.random() < 0.6:
        return Spot(fdi, "occlusal", rng.normal(0, 0.18), rng.normal(0, 0.15), radius)
    if rng.random() < 0.5:
        return Spot(fdi, "facial", rng.normal(0, 0.2), rng.uniform(0.16, 0.3), radius)
    return Spot(fdi, "facial", float(rng.choice([-1, 1])) * rng.uniform(0.7, 0.9), rng.uniform(0.45, 0.7), radius)


def spot_distance(
    spot: Spot, mesial: FloatArray, outward: FloatArray, height: FloatArray, fissure: FloatArray
) -> FloatArray:
    """Distance of crown points from the centre of a spot.

    Args:
        spot: The spot.
        mesial: (n,) places along the arch, as in ``Crown``, like the following.
        outward: (n,) places across the arch.
        height: (n,) shares of crown height.
        fissure: (n,) 1 in occlusal grooves.

    Returns:
        (n,) distances in half crown widths, shorter along fissures; infinite off the surface of a small spot.
    """
    if spot.surface == "occlusal":
        dx, dy = mesial - spot.mesial, outward - spot.across
        near = (np.abs(dx) < 0.75) & (np.abs(dy) < 0.6)
        return np.where(height > 0.45, np.hypot(dx / 1.5, dy) - 0.28 * fissure * near, np.inf)
    rise = 2.2 * (height - spot.across)  # a crown is about 2.2 half widths high
    along = np.hypot(mesial - spot.mesial, rise)
    if spot.radius > _WIDE:  # it reaches around the tooth's edge
        return along + 2.0 * np.clip(-outward, 0, None)
    return np.where(outward > 0.0, along, np.inf)
