"""Colour and roughness of crowns: enamel over dentine, caries, plaque, stain, saliva and restorations.

Layers are painted from the inside out; their colours (linear RGB) and extents were chosen by eye.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.lesion_map import (
    AMALGAM,
    CALCULUS,
    CARIES,
    CAVITY,
    CERAMIC_CROWN,
    CERAMIC_INLAY,
    COMPOSITE,
    FRACTURE,
    GOLD_CROWN,
    GOLD_INLAY,
    PLAQUE,
    VENEER,
    WHITE_SPOT,
)
from dentgen.phantom.anatomy import FloatArray, IntArray
from dentgen.phantom.lesions import FILM_REACH, PATCHES_PER_MM, Caries, Filling, FillingKind, Spot, spot_distance
from dentgen.phantom.material import Material
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.scene import Surface

_ROOT = np.array([0.86, 0.68, 0.45])
_CHALK = np.array([0.86, 0.84, 0.78])
_DENTINE = np.array([0.97, 0.90, 0.74])
_AMALGAM = np.array([0.20, 0.20, 0.205])
_COMPOSITE = np.array([0.97, 0.98, 1.03])
_CERAMIC = np.array([0.80, 0.78, 0.70])
_GOLD = np.array([0.72, 0.47, 0.17])
_VENEER = np.array([0.92, 0.90, 0.85])
_TITANIUM = np.array([0.25, 0.25, 0.26])
_DECAY, _HOLE = np.array([0.30, 0.17, 0.08]), np.array([0.045, 0.03, 0.02])
_SOFT = np.array([0.62, 0.38, 0.14])
_PLAQUE = np.array([0.62, 0.53, 0.29])
_THICK_PLAQUE = np.array([0.60, 0.42, 0.08])
_CALCULUS = np.array([0.66, 0.55, 0.33])
#: Depth of decay from which it is a cavity and not a brown spot.
_CAVITY_FROM = 0.3
#: Coverage from which plaque is labelled, where nothing else is.
_LABELLED_PLAQUE = 0.35
#: Coverage from which severe plaque hides the tooth.
_THICK_FROM = 0.45
#: Mean coverage by a film of plaque or stain, its variation, and patches per mm.
_FILM_PATCHES = (0.65, 0.9, 0.6)
#: Likewise of severe plaque, which is less torn.
_THICK_PATCHES = (0.85, 0.6, 0.35)


@dataclass(slots=True)
class Enamel:
    """Optical values of n crown points.

    Attributes:
        albedo: (n, 3) linear RGB.
        roughness: (n,) GGX roughness.
        sheen: (n, 3) factor on reflected light.
        wrap: (n,) width of the wrapped diffuse term, which stands for translucency.
        restored, decayed, plaque, stain: (n,) coverage by filling or crown, caries, plaque and stain, 0..1.
        lesion: (n,) uint8 values of ``lesion_map.LESIONS``: what covers at least half of a point; plaque from less.
    """

    albedo: FloatArray
    roughness: FloatArray
    sheen: FloatArray
    wrap: FloatArray
    restored: FloatArray
    decayed: FloatArray
    plaque: FloatArray
    stain: FloatArray
    lesion: NDArray[np.uint8]

    def cover(self, share: FloatArray, colour: FloatArray, roughness: float) -> None:
        """Cover a ``share`` (n,), 0..1, of every point with an opaque layer."""
        self.albedo = self.albedo * (1 - share[:, None]) + share[:, None] * colour
        self.roughness = self.roughness * (1 - share) + share * roughness


@dataclass(frozen=True, slots=True)
class _Crowns:
    """Surface coordinates of n traced crown points."""

    point: FloatArray
    fdi: NDArray[np.uint8]
    height: FloatArray
    fissure: FloatArray
    mesial: FloatArray
    outward: FloatArray
    edge: FloatArray
    broken: FloatArray

    def cover(self, spot: Spot, noise: LatticeNoise, softness: float) -> FloatArray:
        """Coverage (n,) by a spot with an uneven outline."""
        distance = spot_distance(spot, self.mesial, self.outward, self.height, self.fissure)
        share = np.clip((spot.radius - distance - 0.08 * noise(self.point, 0.5)) / softness, 0, 1)
        return share * (self.fdi == spot.fdi)


def paint_crowns(surface: Surface, here: IntArray, material: Material, noise: LatticeNoise) -> Enamel:
    """Optical values of the crown points of a traced surface.

    Args:
        surface: Traced points of all tissues.
        here: (n,) indices of the crown points.
        material: The patient's colours and lesions.
        noise: The patient's texture.

    Returns:
        The values of the n points, in the order of ``here``.
    """
    names = ("height", "fissure", "mesial", "outward", "edge", "broken")
    at = _Crowns(surface.position[here], surface.fdi[here], *(surface.attributes[name][here] for name in names))
    n = len(here)
    albedo, roughness = _clean(at, material, noise)
    enamel = Enamel(
        albedo, roughness, np.ones((n, 3)), np.full(n, 0.38), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n),
        np.zeros(n, np.uint8),
    )  # fmt: skip
    _break(enamel, at, material, noise)
    _mottle(enamel, at, material, noise)
    for spot in material.lesions.white_spots:
        _chalk(enamel, at, spot, noise)
    for caries in material.lesions.caries:
        _decay(enamel, at, caries, noise)
    _soil(enamel, at, material, noise)
    _calcify(enamel, at, material, noise)
    _wet(enamel, at, material, noise)
    for filling in material.lesions.fillings:
        _fill(enamel, at, filling, material, noise)
    _veneer(enamel, at, material)
    _crown(enamel, at, material)
    return enamel


def _clean(at: _Crowns, material: Material, noise: LatticeNoise) -> tuple[FloatArray, FloatArray]:
    """Albedo (n, 3) and roughness (n,) of sound, clean teeth."""
    base = material.enamel * material.tooth_tint[at.fdi]
    cloud = noise.octaves(at.point, 0.11, 3)
    streak = noise(at.point * [1, 0.35, 1], 0.55)
    cervical = np.clip(1 - at.height / 0.42, 0, 1) ** 1.3 * material.cervix
    front = np.where(at.fdi % 10 <= 3, 1, 0.25)
    incisal = np.clip((at.height - 0.72) / 0.28, 0, 1) * front * material.translucency
    stained = np.clip(at.fissure * (0.45 + 0.8 * noise(at.point, 0.4)), 0, 1) * material.fissure_stain
    chalky = np.clip(3 * (noise(at.point, 0.23) - 0.62), 0, 1)[:, None] * material.white_spots
    root = np.clip(-at.height / 0.06, 0, 1)[:, None]
    colour = base * (1 + 0.055 * cloud + 0.03 * streak)[:, None]
    colour = colour * (1 - cervical[:, None] * [0.02, 0.11, 0.25])
    colour = colour * (1 - incisal[:, None] * [0.20, 0.14, 0.07])
    colour = colour * (1 - (at.edge * (0.10 + 0.12 * incisal))[:, None] * [1.0, 1.0, 0.8])  # thin edges transmit light
    colour = colour * (1 - stained[:, None] * [0.55, 0.68, 0.78])
    colour = colour * (1 - chalky) + chalky * _CHALK
    colour = colour * (1 - root) + root * base * _ROOT
    worn = (at.edge * np.clip(material.exposed_dentine, 0, 1))[:, None]
    return colour * (1 - worn) + worn * colour * _DENTINE, 0.15 + 0.05 * cloud


def _decay(enamel: Enamel, at: _Crowns, caries: Caries, noise: LatticeNoise) -> None:
    """Brown at the rim, dark and matt in the middle."""
    share = at.cover(caries.spot, noise, 0.10)
    core = at.cover(caries.spot, noise, 0.6) ** 1.5 * caries.depth
    enamel.cover(share * (0.55 + 0.4 * caries.depth), _DECAY, 0.5)
    enamel.cover(np.clip(1.6 * core, 0, 1), _HOLE if not caries.soft else _open_dentine(at, caries, noise), 0.6)
    enamel.decayed = np.maximum(enamel.decayed, share)
    enamel.restored *= 1 - share
    enamel.lesion[share >= 0.5] = CARIES
    enamel.lesion[core >= _CAVITY_FROM] = CAVITY


def _open_dentine(at: _Crowns, caries: Caries, noise: LatticeNoise) -> FloatArray:
    """Colours (n, 3) in an open cavity: black to brown, with islands of yellow dentine."""
    brown = np.clip(0.5 + 1.2 * noise.octaves(at.point + 71, 0.55, 3), 0, 1)[:, None]
    yellow = np.clip(4 * (noise.octaves(at.point + 83, 0.4, 2) + caries.soft - 0.75), 0, 1)[:, None]
    dark = _HOLE * (1 - brown) + brown * _DECAY
    return np.asarray(dark * (1 - yellow) + yellow * _SOFT)


def _chalk(enamel: Enamel, at: _Crowns, spot: Spot, noise: LatticeNoise) -> None:
    """White and matt, fading out at its rim."""
    share = at.cover(spot, noise, 0.16)
    enamel.cover(0.85 * share, _CHALK, 0.5)
    enamel.lesion[share >= 0.5] = WHITE_SPOT


def _mottle(enamel: Enamel, at: _Crowns, material: Material, noise: LatticeNoise) -> None:
    """Fluorosis: chalky clouds on all teeth, with brown in the worst places."""
    amount = material.lesions.fluorosis
    if not amount:
        return
    clouds = noise.octaves(at.point * [0.6, 1.6, 0.6] + 61, 0.35, 3)
    share = np.clip(2.5 * (clouds + 0.9 * amount - 0.55), 0, 1) * np.clip(2 * at.height, 0, 1)
    brown = np.clip(3 * (noise.octaves(at.point + 67, 0.3, 2) + 0.5 * amount - 0.75), 0, 1) * share
    enamel.cover(0.75 * share, _CHALK, 0.35)
    enamel.albedo = enamel.albedo * (1 - brown[:, None] * [0.35, 0.55, 0.72])
    enamel.lesion[share >= 0.5] = WHITE_SPOT


def _break(enamel: Enamel, at: _Crowns, material: Material, noise: LatticeNoise) -> None:
    """Dentine, brown in places, where a crown broke."""
    if not at.broken.any():
        return
    share = np.clip((at.broken - 0.35) / 0.3, 0, 1)
    brown = np.clip(0.4 + noise.octaves(at.point, 0.5, 2), 0, 1)[:, None]
    dentine = material.enamel * [0.80, 0.62, 0.38] * (1 - 0.65 * brown) + 0.65 * brown * _DECAY
    enamel.cover(share, dentine, 0.45)
    enamel.lesion[share >= 0.5] = FRACTURE


def _calcify(enamel: Enamel, at: _Crowns, material: Material, noise: LatticeNoise) -> None:
    """Calculus: rough, yellow to brown, thickest at the necks of the lower front teeth."""
    if not material.lesions.calculus:
        return
    inside = (at.outward < 0) & (at.fdi >= 30) & (at.fdi % 10 <= 3) & (at.fdi < 50)
    place = np.where(inside, 1.0, 0.35) * material.lesions.calculus
    rim = 0.12 + 0.42 * place * (0.8 + 0.5 * noise.octaves(at.point, 0.35, 2))
    share = np.clip((rim - at.height) / 0.05, 0, 1) * (place > 0.2) * (0.3 + noise.octaves(at.point + 5, 0.3, 2) > 0)
    brown = np.clip(0.5 + noise.octaves(at.point + 3, 0.2, 2), 0, 1)[:, None]
    enamel.cover(0.95 * share, _CALCULUS * (1 - 0.5 * brown * [0.6, 0.75, 0.85]), 0.6)
    enamel.sheen *= (1 - 0.5 * share)[:, None]
    enamel.lesion[share >= 0.5] = CALCULUS


def _soil(enamel: Enamel, at: _Crowns, material: Material, noise: LatticeNoise) -> None:
    """Plaque and stain start at the gum line, which rises with the papillae, and end in an uneven rim."""
    gum = 0.14 + 0.42 * np.clip(np.abs(at.mesial), 0, 1) ** 2.4
    uneven = 0.14 * noise.octaves(at.point, 0.45, 2)
    film = _patches(at, gum + FILM_REACH + uneven, _FILM_PATCHES, noise)
    enamel.stain = film * material.lesions.stain
    enamel.albedo = enamel.albedo * (1 - enamel.stain[:, None] * [0.45, 0.62, 0.76])
    if material.lesions.severe:
        film = _patches(at, gum + material.lesions.plaque_reach + uneven, _THICK_PATCHES, noise)
    plaque = enamel.plaque = film * material.lesions.plaque
    if material.lesions.patchy:
        plaque = enamel.plaque = plaque * noise.patches(at.point, PATCHES_PER_MM)
    if material.lesions.severe:
        enamel.cover(0.85 * np.clip(plaque / _THICK_FROM, 0, 1), _THICK_PLAQUE, 0.6)
    else:
        enamel.cover(0.8 * plaque, _PLAQUE, 0.55)
    enamel.sheen *= (1 - 0.6 * plaque)[:, None]
    enamel.lesion[(plaque >= _LABELLED_PLAQUE) & (enamel.lesion == 0)] = PLAQUE


def _patches(at: _Crowns, rim: FloatArray, look: tuple[float, float, float], noise: LatticeNoise) -> FloatArray:
    """Coverage (n,), 0..1, of points below their ``rim`` (n,), which is a height."""
    mean, depth, per_mm = look
    patches = np.clip(mean + depth * noise.octaves(at.point + 7, per_mm, 2), 0, 1)
    return np.clip((rim - at.height) / 0.10, 0, 1) * (at.height > -0.02) * patches


def _wet(enamel: Enamel, at: _Crowns, material: Material, noise: LatticeNoise) -> None:
    """A film of saliva collects where crowns meet the gum."""
    film = np.clip(1 - at.height / 0.35, 0, 1) * np.clip(0.6 + noise.octaves(at.point + 11, 0.16, 2), 0, 1)
    enamel.sheen *= (1 + 0.8 * film * material.wetness)[:, None]
    enamel.roughness = enamel.roughness * (1 - 0.3 * film * material.wetness)


def _fill(enamel: Enamel, at: _Crowns, filling: Filling, material: Material, noise: LatticeNoise) -> None:
    share = at.cover(filling.spot, noise, 0.05)
    colour, roughness, lesion = _filling_look(filling.kind, material)
    if filling.spot.fdi in material.lesions.leaking:
        _decay(enamel, at, Caries(replace(filling.spot, radius=filling.spot.radius + 0.10), 0.15), noise)
    enamel.cover(share, colour, roughness)
    if lesion == GOLD_INLAY:
        enamel.sheen = enamel.sheen * (1 - share[:, None]) + share[:, None] * 9 * _GOLD
        enamel.wrap = enamel.wrap * (1 - share) + 0.05 * share
    enamel.restored = np.maximum(enamel.restored, share)
    enamel.decayed *= 1 - share
    enamel.plaque *= 1 - share
    enamel.stain *= 1 - share
    enamel.lesion[share >= 0.5] = lesion


def _filling_look(kind: FillingKind, material: Material) -> tuple[FloatArray, float, int]:
    """Colour (3,), roughness and lesion value of a filling or inlay."""
    match kind:
        case "amalgam":
            return _AMALGAM, 0.32, AMALGAM
        case "composite":
            return material.enamel * _COMPOSITE, 0.2, COMPOSITE
        case "ceramic inlay":
            return 0.5 * (material.enamel + _CERAMIC), 0.17, CERAMIC_INLAY
        case _:
            return _GOLD, 0.24, GOLD_INLAY


def _veneer(enamel: Enamel, at: _Crowns, material: Material) -> None:
    """An even, bright shell on the facial side, up to the gum."""
    here = np.isin(at.fdi, list(material.lesions.veneers)) & (at.outward > 0.05) & (at.broken < 0.5)
    enamel.albedo[here] = 0.25 * material.enamel + 0.75 * _VENEER
    enamel.roughness[here] = 0.14
    enamel.restored[here], enamel.lesion[here] = 1, VENEER
    enamel.decayed[here] = enamel.plaque[here] = enamel.stain[here] = 0


def _crown(enamel: Enamel, at: _Crowns, material: Material) -> None:
    for fdi, kind in material.lesions.crowns.items():
        here = at.fdi == fdi
        colour = 0.5 * (material.enamel + _CERAMIC) if kind == "ceramic" else _GOLD
        enamel.albedo[here], enamel.roughness[here] = colour, 0.17 if kind == "ceramic" else 0.24
        if kind == "gold":  # metal reflects in its own colour and is opaque
            enamel.sheen[here], enamel.wrap[here] = 9 * _GOLD, 0.05
        enamel.restored[here] = 1
        enamel.lesion[here] = CERAMIC_CROWN if kind == "ceramic" else GOLD_CROWN
        enamel.decayed[here] = enamel.plaque[here] = enamel.stain[here] = 0
        if fdi in material.lesions.implants:
            metal = here & (at.height < 0.09)
            enamel.albedo[metal], enamel.sheen[metal], enamel.roughness[metal] = _TITANIUM, 5.0, 0.3
