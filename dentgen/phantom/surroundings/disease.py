"""Mouths of people who see a dentist because something is wrong: decay of every size, broken and repaired teeth."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.lesions import Caries, CrownKind, Filling, FillingKind, Fracture, Lesions, Spot, sample_lesions

#: Share of diseased teeth in a diseased mouth, and what is wrong with them; chosen by eye.
_KINDS = ("caries", "cavity", "white spot", "fracture", "remnant", "filling", "crown", "implant")
_KIND_SHARES = (0.27, 0.34, 0.07, 0.09, 0.06, 0.11, 0.04, 0.02)
#: Share of diseased mouths whose teeth are all mottled, and of adults with veneers on the upper front teeth.
_FLUOROSIS_SHARE, _VENEER_SHARE = 0.07, 0.06
#: Share of diseased mouths that are badly brushed, and of all mouths in which that shows beside some teeth only.
_UNBRUSHED_SHARE, _PATCHY_SHARE = 0.35, 0.6
#: What fillings of diseased mouths are made of.
_FILLING_KINDS: tuple[FillingKind, ...] = ("amalgam", "composite", "ceramic inlay", "gold inlay")
_FILLING_SHARES = (0.44, 0.40, 0.08, 0.08)
#: From a thin line at the gum to nearly two thirds of the crown, grades 2 to 4 of the Quigley-Hein index as Turesky
#: et al. (1970) have it; and from a red margin to red attached gum, mm.
_PLAQUE_REACH: Final = (0.08, 0.55)
_REDNESS_MM: Final = (0.8, 3.5)


def sample_disease(dentition: Dentition, diseased: bool, rng: np.random.Generator) -> Lesions:
    """Draw a patient's lesions; those of a healthy patient are as frequent as in ``sample_lesions``."""
    sound = sample_lesions(dentition, rng)
    calculus = float(rng.uniform(0.4, 1.0)) if rng.random() < (0.4 if diseased else 0.12) else 0.0
    if not diseased:
        return _with(sound, [], calculus, rng)
    teeth = _teeth(dentition)
    share = rng.uniform(0.15, 0.7)
    weights = np.array([3.0 if fdi % 10 >= 6 else 1.5 if fdi % 10 >= 4 else 1.0 for fdi in teeth])
    count = max(1, int(share * len(teeth)))
    chosen = rng.choice(teeth, size=count, replace=False, p=weights / weights.sum())
    return _with(sound, [int(fdi) for fdi in chosen], calculus, rng)


def _teeth(dentition: Dentition) -> list[int]:
    quadrants, last = ((1, 2, 3, 4), 7) if dentition == "permanent" else ((5, 6, 7, 8), 5)
    return [10 * quadrant + place for quadrant in quadrants for place in range(1, last + 1)]


@dataclass(slots=True)
class _Chart:
    """What is found in one mouth, tooth by tooth."""

    caries: list[Caries]
    fillings: list[Filling]
    crowns: dict[int, CrownKind]
    spots: list[Spot] = field(default_factory=list)
    fractures: list[Fracture] = field(default_factory=list)
    implants: set[int] = field(default_factory=set)

    def add(self, fdi: int, rng: np.random.Generator) -> None:
        """Something is wrong with a tooth, or was."""
        match _KINDS[rng.choice(len(_KINDS), p=_KIND_SHARES)]:
            case "caries":
                depths = rng.uniform(0.1, 0.6, rng.integers(1, 3))
                self.caries += [Caries(_spot(fdi, rng, 0.14, 0.6), float(depth)) for depth in depths]
            case "cavity":
                self.caries.append(Caries(_spot(fdi, rng, 0.5, 1.3), rng.uniform(0.7, 1.0), rng.uniform(0.1, 1.0)))
            case "white spot":
                spot = Spot(fdi, "facial", rng.normal(0, 0.4), rng.uniform(0.1, 0.5), rng.uniform(0.15, 0.45))
                self.spots.append(spot)
            case "fracture":
                self.fractures.append(Fracture(fdi, rng.uniform(0.05, 0.45), _slope(rng, 0.9)))
            case "remnant":
                self.fractures.append(Fracture(fdi, rng.uniform(0.62, 0.82), _slope(rng, 0.25)))
                self.caries.append(Caries(Spot(fdi, "occlusal", 0.0, 0.0, 0.8), 1.0, 0.6))
            case "filling":
                self.fillings = [filling for filling in self.fillings if filling.spot.fdi != fdi]
                kind = _FILLING_KINDS[rng.choice(len(_FILLING_KINDS), p=_FILLING_SHARES)]
                self.fillings.append(Filling(_spot(fdi, rng, 0.2, 0.6), kind))
            case "crown":
                self.crowns[fdi] = "gold" if rng.random() < 0.3 else "ceramic"
            case _:
                self.crowns[fdi] = "ceramic"
                self.implants.add(fdi)


def _with(sound: Lesions, diseased: list[int], calculus: float, rng: np.random.Generator) -> Lesions:
    chart = _Chart(list(sound.caries), list(sound.fillings), dict(sound.crowns))
    for fdi in diseased:
        chart.add(fdi, rng)
    crowned = set(chart.crowns)
    return replace(
        sound,
        fillings=tuple(chart.fillings),
        crowns=chart.crowns,
        caries=tuple(caries for caries in chart.caries if caries.spot.fdi not in crowned),
        white_spots=tuple(chart.spots),
        leaking=frozenset(filling.spot.fdi for filling in chart.fillings if rng.random() < 0.3),
        calculus=calculus,
        fractures=tuple(fracture for fracture in chart.fractures if fracture.fdi not in crowned),
        veneers=_veneers(rng) if diseased and min(diseased) < 50 else frozenset(),
        implants=frozenset(chart.implants),
        fluorosis=float(rng.uniform(0.3, 1.0)) if diseased and rng.random() < _FLUOROSIS_SHARE else 0.0,
        plaque=float(rng.uniform(0.5, 1.0)) if diseased and rng.random() < _UNBRUSHED_SHARE else sound.plaque,
        patchy=bool(rng.random() < _PATCHY_SHARE),
        severe=True,
        plaque_reach=float(rng.uniform(*_PLAQUE_REACH)),
        redness_mm=float(rng.uniform(*_REDNESS_MM)),
    )


def _veneers(rng: np.random.Generator) -> frozenset[int]:
    """Upper front teeth that have veneers: none, or two to six from the middle outwards."""
    reach = int(rng.integers(1, 4))
    return (
        frozenset(f for q in (10, 20) for f in range(q + 1, q + 1 + reach))
        if rng.random() < _VENEER_SHARE
        else frozenset()
    )


def _slope(rng: np.random.Generator, most: float) -> tuple[float, float]:
    return float(rng.uniform(-most, most)), float(rng.uniform(-most, most))


def _spot(fdi: int, rng: np.random.Generator, smallest: float, largest: float) -> Spot:
    """A place on the biting surface of back teeth, at the neck, or beside a contact."""
    radius = float(np.exp(rng.uniform(np.log(smallest), np.log(largest))))
    if fdi % 10 >= 4 and rng.random() < 0.65:
        return Spot(fdi, "occlusal", rng.normal(0, 0.25), rng.normal(0, 0.2), radius)
    if rng.random() < 0.45:
        return Spot(fdi, "facial", rng.normal(0, 0.25), rng.uniform(0.14, 0.35), radius)
    side = float(rng.choice([-1, 1]))
    return Spot(fdi, "facial", side * rng.uniform(0.6, 0.95), rng.uniform(0.4, 0.75), radius)
