"""Mouths of people who see a dentist because something is wrong: decay of every size, broken and repaired teeth."""

from __future__ import annotations

import numpy as np

from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.lesions import Caries, CrownKind, Filling, Fracture, Lesions, Spot, sample_lesions

#: Share of diseased teeth in a diseased mouth, and what is wrong with them; chosen by eye.
_KINDS = ("caries", "cavity", "white spot", "fracture", "remnant", "filling", "crown")
_KIND_SHARES = (0.30, 0.24, 0.10, 0.09, 0.04, 0.17, 0.06)


def sample_disease(dentition: Dentition, diseased: bool, rng: np.random.Generator) -> Lesions:
    """Draw a patient's lesions; those of a healthy patient follow the surveys, as in ``sample_lesions``."""
    sound = sample_lesions(dentition, rng)
    calculus = float(rng.uniform(0.4, 1.0)) if rng.random() < (0.4 if diseased else 0.12) else 0.0
    if not diseased:
        return _with(sound, [], calculus, rng)
    teeth = _teeth(dentition)
    share = rng.uniform(0.08, 0.55)
    weights = np.array([2.0 if fdi % 10 >= 4 else 1.0 for fdi in teeth])
    count = max(1, int(share * len(teeth)))
    chosen = rng.choice(teeth, size=count, replace=False, p=weights / weights.sum())
    return _with(sound, [int(fdi) for fdi in chosen], calculus, rng)


def _teeth(dentition: Dentition) -> list[int]:
    quadrants, last = ((1, 2, 3, 4), 7) if dentition == "permanent" else ((5, 6, 7, 8), 5)
    return [10 * quadrant + place for quadrant in quadrants for place in range(1, last + 1)]


def _with(sound: Lesions, diseased: list[int], calculus: float, rng: np.random.Generator) -> Lesions:
    caries, spots, fractures = list(sound.caries), [], []
    fillings, crowns = list(sound.fillings), dict(sound.crowns)
    for fdi in diseased:
        match _KINDS[rng.choice(len(_KINDS), p=_KIND_SHARES)]:
            case "caries":
                caries += [
                    Caries(_spot(fdi, rng, 0.10, 0.34), rng.uniform(0.1, 0.6)) for _ in range(rng.integers(1, 3))
                ]
            case "cavity":
                caries.append(Caries(_spot(fdi, rng, 0.25, 0.85), rng.uniform(0.7, 1.0)))
            case "white spot":
                spots.append(Spot(fdi, "facial", rng.normal(0, 0.4), rng.uniform(0.1, 0.5), rng.uniform(0.15, 0.45)))
            case "fracture":
                fractures.append(Fracture(fdi, rng.uniform(0.05, 0.45), _slope(rng, 0.9)))
            case "remnant":
                fractures.append(Fracture(fdi, rng.uniform(0.62, 0.82), _slope(rng, 0.25)))
                caries.append(Caries(Spot(fdi, "occlusal", 0.0, 0.0, 0.8), 1.0))
            case "filling":
                fillings = [filling for filling in fillings if filling.spot.fdi != fdi]
                fillings.append(Filling(_spot(fdi, rng, 0.2, 0.6), "amalgam" if rng.random() < 0.5 else "composite"))
            case _:
                kind: CrownKind = "gold" if rng.random() < 0.3 else "ceramic"
                crowns[fdi] = kind
    leaking = frozenset(filling.spot.fdi for filling in fillings if rng.random() < 0.3)
    return Lesions(
        tuple(fillings), crowns, tuple(caries), sound.plaque, sound.stain, tuple(spots), leaking, calculus,
        tuple(fracture for fracture in fractures if fracture.fdi not in crowns),
    )  # fmt: skip


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
