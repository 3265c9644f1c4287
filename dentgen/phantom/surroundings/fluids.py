"""Blood and frothy saliva on gum and teeth; amounts and colours were chosen by eye."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from dentgen.phantom.anatomy import FloatArray, IntArray
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.scene import Surface
from dentgen.phantom.tissue import Coat

_BLOODY_SHARE, _FROTHY_SHARE = 0.14, 0.2
_BLOOD: Final = np.array([0.26, 0.012, 0.014])
#: Edge of the cells that hold a bubble each, and the bubbles' smallest and largest radius, mm.
_CELL_MM, _SMALLEST_MM, _LARGEST_MM = 0.9, 0.14, 0.38


@dataclass(frozen=True, slots=True)
class Fluids:
    """Amounts, 0..1, of blood at the gum's margin and of froth where teeth meet the gum."""

    blood: float
    froth: float


def sample_fluids(bleeding: bool, rng: np.random.Generator) -> Fluids:
    """Draw the fluids of one picture; an inflamed gum bleeds twice as often."""
    blood, froth = rng.uniform(0.2, 1.0, 2)
    bloody = rng.random() < _BLOODY_SHARE * (2 if bleeding else 1)
    return Fluids(float(blood) if bloody else 0.0, float(froth) if rng.random() < _FROTHY_SHARE else 0.0)


def paint_fluids(coat: Coat, surface: Surface, fluids: Fluids, noise: LatticeNoise) -> Coat:
    """Paint fluids into a coat, in place; what opaque blood covers is not a visible lesion or restoration any more."""
    tooth = surface.tissue == Tissue.TOOTH
    here = np.flatnonzero(tooth | (surface.tissue == Tissue.GUM))
    if not len(here) or not (fluids.blood or fluids.froth):
        return coat
    above = _above_gum_mm(surface, here)
    if fluids.froth:
        _froth(coat, here, surface.position[here], above, fluids.froth, noise)
    if fluids.blood:
        _bleed(coat, here, surface.position[here], above, fluids.blood, noise)
    return coat


def _above_gum_mm(surface: Surface, here: IntArray) -> FloatArray:
    """Distance (n,) from the gum's margin, mm: positive on crowns, negative on the gum."""
    crown = 8.0 * surface.attributes["height"][here]  # a crown is about 8 mm high
    return np.where(surface.tissue[here] == Tissue.TOOTH, crown, -surface.attributes["margin_mm"][here])


def _bleed(
    coat: Coat, here: IntArray, point: FloatArray, above: FloatArray, amount: float, noise: LatticeNoise
) -> None:
    """Patches that start at the margin, run onto the gum, and as a thin film onto the teeth."""
    patch = noise.octaves(point + 41, 0.16, 3) + 0.9 * amount - 0.35
    reach = np.where(above > 0, 0.8 + 2.2 * amount, 0.6 + 3.0 * amount)
    share = np.clip(3 * (patch - np.abs(above) / reach), 0, 1)
    film = np.where(above > 0, 0.8, 0.95) * share
    coat.albedo[here] = coat.albedo[here] * (1 - film[:, None]) + film[:, None] * _BLOOD
    coat.roughness[here] = coat.roughness[here] * (1 - share) + 0.12 * share
    coat.sheen[here] *= (1 + 0.8 * share)[:, None]
    hidden = here[film >= 0.5]
    coat.lesion[hidden] = 0
    for covered in (coat.restored, coat.decayed, coat.plaque, coat.stain):
        covered[hidden] = 0


def _froth(
    coat: Coat, here: IntArray, point: FloatArray, above: FloatArray, amount: float, noise: LatticeNoise
) -> None:
    """Bubbles of saliva: bright rims, and glints inside."""
    cell = np.floor(point / _CELL_MM)
    there = noise(3.71 * cell, 0.83) > 0.75 - 1.1 * amount
    radius = _SMALLEST_MM + (_LARGEST_MM - _SMALLEST_MM) * (0.5 + 0.5 * noise(2.93 * cell + 7, 0.77))
    distance = np.linalg.norm(point - (cell + 0.5) * _CELL_MM, axis=1)
    near = np.clip(1.6 - np.abs(above - 0.6) / (0.8 + 1.2 * amount), 0, 1) * there
    rim = near * np.exp(-(((distance - radius) / 0.06) ** 2))
    inside = near * (distance < radius)
    coat.albedo[here] = np.clip(coat.albedo[here] + (0.3 * rim)[:, None], 0, 1)
    coat.sheen[here] *= (1 + 1.2 * inside)[:, None]
    coat.roughness[here] = coat.roughness[here] * (1 - 0.5 * inside)
