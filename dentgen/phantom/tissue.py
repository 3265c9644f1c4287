"""Surface colour and roughness of each tissue at traced points; amounts and textures were chosen by eye."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.lesion_map import INFLAMED_GUM
from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.enamel import paint_crowns
from dentgen.phantom.lesions import MARGIN_MM, PATCHES_PER_MM
from dentgen.phantom.material import Material
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.scene import Surface

_STEEL = np.array([0.30, 0.30, 0.31])
#: Amount of inflammation from which gum is labelled: a fifth less green and blue, a third less where it is severe.
_INFLAMED_FROM = 0.5


@dataclass(frozen=True, slots=True)
class Coat:
    """Optical values at n points.

    Attributes:
        albedo: (n, 3) linear RGB.
        roughness: (n,) GGX roughness.
        sheen: (n, 3) factor on reflected light.
        wrap: (n,) width of the wrapped diffuse term, which stands for translucency.
        bump: (n,) strength of the fine relief.
        restored, decayed, plaque, stain: (n,) coverage by filling or crown, caries, plaque and stain, 0..1.
        lesion: (n,) uint8 values of ``lesion_map.LESIONS``.
    """

    albedo: FloatArray
    roughness: FloatArray
    sheen: FloatArray
    wrap: FloatArray
    bump: FloatArray
    restored: FloatArray
    decayed: FloatArray
    plaque: FloatArray
    stain: FloatArray
    lesion: NDArray[np.uint8]


def coat(surface: Surface, material: Material, noise: LatticeNoise) -> Coat:
    """Coat every traced point by its tissue.

    Args:
        surface: First hits.
        material: The patient's colours.
        noise: The patient's texture.
    """
    n = len(surface.hit)
    bump, restored, decayed, plaque, stain = (np.zeros(n) for _ in range(5))
    result = Coat(
        np.zeros((n, 3)), np.full(n, 0.3), np.ones((n, 3)), np.full(n, 0.25), bump, restored, decayed, plaque, stain,
        np.zeros(n, np.uint8),
    )  # fmt: skip
    for tissues, paint in (
        ((Tissue.TOOTH,), _paint_teeth),
        ((Tissue.GUM, Tissue.PALATE, Tissue.MUCOSA), _paint_gum),
        ((Tissue.TONGUE,), _paint_tongue),
        ((Tissue.LIP,), _paint_lips),
        ((Tissue.APPLIANCE,), _paint_appliance),
    ):
        here = np.flatnonzero(np.isin(surface.tissue, tissues))
        if len(here):
            paint(result, here, surface, material, noise)
    return result


def _paint_teeth(result: Coat, here: np.ndarray, surface: Surface, material: Material, noise: LatticeNoise) -> None:
    enamel = paint_crowns(surface, here, material, noise)
    result.albedo[here], result.roughness[here], result.sheen[here] = enamel.albedo, enamel.roughness, enamel.sheen
    result.wrap[here], result.bump[here] = enamel.wrap, 0.016
    result.restored[here], result.decayed[here] = enamel.restored, enamel.decayed
    result.plaque[here], result.stain[here] = enamel.plaque, enamel.stain
    result.lesion[here] = enamel.lesion


def _paint_appliance(result: Coat, here: np.ndarray, surface: Surface, material: Material, noise: LatticeNoise) -> None:
    rubber = (surface.attributes["height"][here] > 0.5)[:, None]
    result.albedo[here] = np.where(rubber, material.ligature, _STEEL)
    result.sheen[here] = np.where(rubber, 1.0, 8.0)
    result.roughness[here] = np.where(rubber[:, 0], 0.35, 0.3)
    result.wrap[here] = 0.05


def _paint_gum(result: Coat, here: np.ndarray, surface: Surface, material: Material, noise: LatticeNoise) -> None:
    point, tissue = surface.position[here], surface.tissue[here]
    margin, buccal = surface.attributes["margin_mm"][here], surface.attributes["buccal"][here]
    cloud = noise.octaves(point, 0.09, 4)
    fine = noise.octaves(point * [1, 0.45, 1], 0.35, 3)
    loose = np.clip((margin - material.keratin_mm + 1.6 * cloud) / 2.2, 0, 1) * (buccal > 0.5)
    vessel = np.clip(1 - 4.5 * np.abs(noise.octaves(point * [1, 0.6, 1], 0.2, 4)), 0, 1) ** 2
    vessel = vessel * np.clip(0.5 + noise(point, 0.13), 0, 1)
    livid = np.clip(noise.octaves(point + 31, 0.06, 3), 0, 1)[:, None] * [0.42, 0.40, 0.18]
    grain = (1 + 0.14 * cloud + 0.06 * fine)[:, None]
    mucosa = material.mucosa * (1 + 0.16 * cloud)[:, None] * (1 - livid)
    colour = material.gum * grain * (1 - loose[:, None]) + mucosa * loose[:, None]
    colour = colour * (1 - ((0.55 * loose + 0.06) * vessel)[:, None] * [0.25, 0.75, 0.7])
    red = inflammation(margin, material)
    if material.lesions.patchy:
        red = red * noise.patches(point, PATCHES_PER_MM)
    result.lesion[here[(red >= _INFLAMED_FROM) & (tissue == Tissue.GUM)]] = INFLAMED_GUM
    colour = colour * reddened(red, severe=material.lesions.severe)
    spots = np.clip(noise.octaves(point, 0.17, 3) - 0.15, 0, 1) * material.pigment
    colour = colour * (1 - spots[:, None] * [0.6, 0.68, 0.65])
    on_palate = tissue == Tissue.PALATE
    midline = np.clip(5 * surface.attributes["height"][here], 0, 1)[:, None]
    vault = material.palate * grain * (1 - 0.35 * vessel[:, None] * [0.2, 0.6, 0.5])
    colour = np.where(on_palate[:, None], colour * (1 - midline) + midline * vault, colour)
    plain = material.mucosa * (1 + 0.15 * cloud)[:, None]
    result.albedo[here] = np.where((tissue == Tissue.MUCOSA)[:, None], plain, colour)
    wet = np.clip(0.5 + 0.9 * noise.octaves(point + 11, 0.16, 2), 0, 1) * material.wetness  # patches of saliva
    result.roughness[here], result.wrap[here] = 0.27 - 0.10 * wet + 0.07 * fine, 0.30
    result.sheen[here] = (1.0 + 0.7 * wet)[:, None]
    result.bump[here] = np.where(on_palate, 0.05, 0.022 + 0.032 * (1 - loose))


def inflammation(margin_mm: FloatArray, material: Material) -> FloatArray:
    """Amount (n,), 0..1.6, of inflammation of the gum at distances (n,) from its margin, mm.

    Gum that is nowhere inflamed enough to be labelled is red along its margin alone.
    """
    width = material.lesions.redness_mm if material.inflammation >= _INFLAMED_FROM else MARGIN_MM
    reach = width + 1.6 * max(material.inflammation - 0.6, 0)
    swollen = np.exp(-((np.clip(margin_mm, 0, 9) / reach) ** 2))
    return np.clip(swollen * material.inflammation, 0, 1.6)


def reddened(amount: FloatArray, *, severe: bool) -> FloatArray:
    """Colour factor (n, 3) of the gum by its amount (n,) of inflammation, which is deeper red if ``severe``."""
    if severe:
        return 1 - np.minimum(amount, 1.1)[:, None] * [0.12, 0.74, 0.62]
    return 1 - amount[:, None] * [0.08, 0.38, 0.32]


def _paint_tongue(result: Coat, here: np.ndarray, surface: Surface, material: Material, noise: LatticeNoise) -> None:
    point = surface.position[here]
    texture = 1 + 0.12 * noise.octaves(point, 0.12, 3) + 0.14 * noise.octaves(point, 1.1, 2)
    result.albedo[here] = material.tongue * texture[:, None]
    result.bump[here], result.sheen[here] = 0.16, 1.3


def _paint_lips(result: Coat, here: np.ndarray, surface: Surface, material: Material, noise: LatticeNoise) -> None:
    cloud = noise.octaves(surface.position[here], 0.06, 3)
    outwards, steep = surface.attributes["margin_mm"][here], surface.attributes["height"][here]
    edge = material.lip_edge * (1.6 - 1.5 * steep**2) + 0.05 * cloud
    skin = np.clip((outwards - edge) / 0.05, 0, 1)[:, None]
    red = material.mucosa * [1.02, 1.0, 1.0] * (1 + 0.1 * cloud)[:, None]
    result.albedo[here] = (1 - skin) * red + skin * material.lip * (1 + 0.05 * cloud)[:, None]
    result.roughness[here], result.wrap[here], result.bump[here], result.sheen[here] = 0.42, 0.5, 0.015, 0.5
