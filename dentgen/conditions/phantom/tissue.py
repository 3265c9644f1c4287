"""Surface colour and roughness of each tissue at traced points. Refuses to know lamps and cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dentgen.conditions.phantom.anatomy import FloatArray
from dentgen.conditions.phantom.material import Filling, Material
from dentgen.conditions.phantom.mesh import Tissue
from dentgen.conditions.phantom.noise import LatticeNoise
from dentgen.conditions.phantom.scene import Surface

_ROOT = np.array([0.86, 0.68, 0.45])
_CROWN = np.array([0.80, 0.78, 0.70])
_CHALK = np.array([0.86, 0.84, 0.78])


@dataclass(frozen=True, slots=True)
class Coat:
    """Optical values at n points: albedo (n, 3), roughness, gloss, light wrap, bump and share of restoration (n,)."""

    albedo: FloatArray
    roughness: FloatArray
    gloss: FloatArray
    wrap: FloatArray
    bump: FloatArray
    restored: FloatArray


def coat(surface: Surface, material: Material, noise: LatticeNoise) -> Coat:
    """Colour every traced point by its tissue."""
    n = len(surface.hit)
    result = Coat(np.zeros((n, 3)), np.full(n, 0.3), np.ones(n), np.full(n, 0.25), np.zeros(n), np.zeros(n))
    for tissues, paint in (
        ((Tissue.TOOTH,), _paint_teeth),
        ((Tissue.GUM, Tissue.PALATE, Tissue.MUCOSA), _paint_gum),
        ((Tissue.TONGUE,), _paint_tongue),
        ((Tissue.LIP,), _paint_lips),
    ):
        here = np.flatnonzero(np.isin(surface.tissue, tissues))
        if len(here):
            paint(result, here, surface, material, noise)
    return result


def _paint_teeth(result: Coat, here: np.ndarray, surface: Surface, material: Material, noise: LatticeNoise) -> None:
    point, height = surface.position[here], surface.attributes["height"][here]
    fissure, fdi = surface.attributes["fissure"][here], surface.fdi[here]
    base = material.enamel * material.tooth_tint[fdi]
    cloud = noise.octaves(point, 0.11, 3)
    streak = noise(point * [1, 0.35, 1], 0.55)
    cervical = np.clip(1 - height / 0.42, 0, 1) ** 1.3 * material.cervix
    front = np.where(fdi % 10 <= 3, 1, 0.25)
    incisal = np.clip((height - 0.72) / 0.28, 0, 1) * front * material.translucency
    stained = np.clip(fissure * (0.45 + 0.8 * noise(point, 0.4)), 0, 1) * material.stain
    chalky = np.clip(3 * (noise(point, 0.23) - 0.62), 0, 1)[:, None] * material.white_spots
    root = np.clip(-height / 0.06, 0, 1)[:, None]
    colour = base * (1 + 0.055 * cloud + 0.03 * streak)[:, None]
    colour = colour * (1 - cervical[:, None] * [0.02, 0.11, 0.25])
    colour = colour * (1 - incisal[:, None] * [0.20, 0.14, 0.07])
    colour = colour * (1 - stained[:, None] * [0.55, 0.68, 0.78])
    colour = colour * (1 - chalky) + chalky * _CHALK
    colour = colour * (1 - root) + root * base * _ROOT
    roughness = 0.15 + 0.05 * cloud
    for filling in material.fillings:
        covered = _filled(filling, surface, here, noise)
        colour = colour * (1 - covered[:, None]) + covered[:, None] * filling.colour
        roughness = roughness * (1 - covered) + filling.roughness * covered
        result.restored[here] += covered
    crowned = np.isin(fdi, material.crowns)
    colour[crowned] = _CROWN
    result.restored[here[crowned]] = 1
    result.albedo[here], result.roughness[here] = colour, roughness
    result.wrap[here], result.bump[here] = 0.38, 0.016


def _filled(filling: Filling, surface: Surface, here: np.ndarray, noise: LatticeNoise) -> FloatArray:
    """Share of each point that a filling covers; it reaches into the fissures."""
    at = {name: values[here] for name, values in surface.attributes.items()}
    dx, dy = at["mesial"] - filling.mesial, at["outward"] - filling.outward
    near = (np.abs(dx) < 0.75) & (np.abs(dy) < 0.6)
    radius = np.sqrt((dx / 1.5) ** 2 + dy**2) + 0.08 * noise(surface.position[here], 0.5)
    radius = radius - 0.28 * at["fissure"] * near
    on_tooth = (surface.fdi[here] == filling.fdi) & (at["height"] > 0.45)
    return np.clip((filling.radius - radius) / 0.05, 0, 1) * on_tooth


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
    colour = colour * marginal_reddening(margin, material)
    spots = np.clip(noise.octaves(point, 0.17, 3) - 0.15, 0, 1) * material.pigment
    colour = colour * (1 - spots[:, None] * [0.6, 0.68, 0.65])
    on_palate = tissue == Tissue.PALATE
    midline = np.clip(5 * surface.attributes["height"][here], 0, 1)[:, None]
    vault = material.palate * grain * (1 - 0.35 * vessel[:, None] * [0.2, 0.6, 0.5])
    colour = np.where(on_palate[:, None], colour * (1 - midline) + midline * vault, colour)
    plain = material.mucosa * (1 + 0.15 * cloud)[:, None]
    result.albedo[here] = np.where((tissue == Tissue.MUCOSA)[:, None], plain, colour)
    result.roughness[here], result.wrap[here], result.gloss[here] = 0.24 + 0.07 * fine, 0.30, 1.25
    result.bump[here] = np.where(on_palate, 0.05, 0.022 + 0.032 * (1 - loose))


def marginal_reddening(margin_mm: FloatArray, material: Material) -> FloatArray:
    """Factor (n, 3) on the gum's colour at distances (n,) from its margin."""
    swollen = np.exp(-((np.clip(margin_mm, 0, 9) / (0.8 + 1.6 * max(material.inflammation - 0.6, 0))) ** 2))
    return 1 - np.clip(swollen * material.inflammation, 0, 1.6)[:, None] * [0.08, 0.38, 0.32]


def _paint_tongue(result: Coat, here: np.ndarray, surface: Surface, material: Material, noise: LatticeNoise) -> None:
    point = surface.position[here]
    texture = 1 + 0.12 * noise.octaves(point, 0.12, 3) + 0.14 * noise.octaves(point, 1.1, 2)
    result.albedo[here] = material.tongue * texture[:, None]
    result.bump[here], result.gloss[here] = 0.16, 1.3


def _paint_lips(result: Coat, here: np.ndarray, surface: Surface, material: Material, noise: LatticeNoise) -> None:
    cloud = noise.octaves(surface.position[here], 0.06, 3)
    outwards, steep = surface.attributes["margin_mm"][here], surface.attributes["height"][here]
    edge = material.lip_edge * (1.6 - 1.5 * steep**2) + 0.05 * cloud
    skin = np.clip((outwards - edge) / 0.05, 0, 1)[:, None]
    red = material.mucosa * [1.02, 1.0, 1.0] * (1 + 0.1 * cloud)[:, None]
    result.albedo[here] = (1 - skin) * red + skin * material.lip * (1 + 0.05 * cloud)[:, None]
    result.roughness[here], result.wrap[here], result.bump[here], result.gloss[here] = 0.42, 0.5, 0.015, 0.5
