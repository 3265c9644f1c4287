"""Colours of skin, gloves, instruments and rubber dam, and their paint at traced points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from dentgen.phantom.anatomy import FloatArray, IntArray
from dentgen.phantom.material import Material, lab_to_linear
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.scene import Surface
from dentgen.phantom.surroundings.props import COTTON, FITTED_GLASS, FITTED_STEEL, GLASS, PLASTIC, STEEL
from dentgen.phantom.surroundings.sides import CLOTH
from dentgen.phantom.tissue import Coat

#: CIE Lab of skin from light to dark: means of the groups of Chardon 1991 (individual typology angle), rounded.
_SKIN_LAB: Final = ((70, 12, 15), (65, 14, 18), (59, 15, 20), (50, 14, 20), (41, 13, 18), (33, 10, 13))
_SKIN_SHARES: Final = (0.25, 0.25, 0.2, 0.13, 0.1, 0.07)
_LIPSTICK_SHARE, _BEARD_SHARE, _GLOVED_SHARE = 0.16, 0.3, 0.8
#: Linear RGB of gloves: white latex, blue and violet nitrile, green, black, pink.
_GLOVES: Final = (
    (0.76, 0.72, 0.64), (0.07, 0.22, 0.60), (0.20, 0.14, 0.48), (0.16, 0.42, 0.30), (0.02, 0.02, 0.02),
    (0.70, 0.32, 0.42),
)  # fmt: skip
#: Linear RGB of rubber dam: green, blue, violet, black, beige, pink.
_DAMS: Final = (
    (0.05, 0.30, 0.20), (0.04, 0.16, 0.50), (0.20, 0.12, 0.42), (0.03, 0.03, 0.03), (0.62, 0.50, 0.32),
    (0.68, 0.28, 0.36),
)  # fmt: skip
#: Linear RGB of plastic tubes: clear, white, blue, green.
_PLASTICS: Final = ((0.62, 0.66, 0.66), (0.82, 0.82, 0.80), (0.10, 0.30, 0.70), (0.12, 0.48, 0.34))
#: Linear RGB of what holds the lips: skin is added; black and clear retractors, steel, cotton.
_FIRST_RETRACTOR: Final = 3
_RETRACTORS: Final = ((0.02, 0.02, 0.022), (0.45, 0.42, 0.40), (0.33, 0.33, 0.34), (0.78, 0.72, 0.66))
#: Linear RGB of grounds: white twice, grey, blue, black, wood.
_GROUNDS: Final = np.array(
    [(0.8, 0.8, 0.8), (0.9, 0.9, 0.92), (0.25, 0.25, 0.26), (0.12, 0.2, 0.4), (0.01, 0.01, 0.01), (0.3, 0.2, 0.12)]
)
#: Linear RGB of bibs, drapes and clothes: white, light blue, blue, turquoise, green, black, red.
_CLOTHS: Final = np.array([
    (0.8, 0.8, 0.82), (0.35, 0.55, 0.75), (0.04, 0.2, 0.55), (0.05, 0.42, 0.45), (0.08, 0.3, 0.16),
    (0.02, 0.02, 0.025), (0.45, 0.05, 0.05),
])  # fmt: skip
#: Factor on the patient's skin, which faces a flash more squarely than teeth do.
_SKIN_BRIGHTNESS: Final = (0.9, 1.7)
_STEEL: Final = np.array([0.34, 0.34, 0.35])


@dataclass(frozen=True, slots=True)
class Outside:
    """Colours (linear RGB, each (3,)) of what is not the patient's mouth.

    Attributes:
        skin, red: Skin, and red of the lips.
        beard: Amount of beard shadow, 0..1.
        blotches: Amount of uneven skin colour, 0..1.
        finger: Glove, or another person's skin.
        holder: What holds the lips away: fingers, or cotton or a retractor.
        retractor: Whether that is an instrument.
        plastic, dam: Tubes and rubber dam.
        ground: What is behind a head.
        cloth: Clothes and drapes.
    """

    skin: FloatArray
    red: FloatArray
    beard: float
    blotches: float
    finger: FloatArray
    holder: FloatArray
    retractor: bool
    plastic: FloatArray
    dam: FloatArray
    ground: FloatArray
    cloth: FloatArray


def sample_outside(rng: np.random.Generator) -> Outside:
    """Draw all colours of one picture."""
    skin = np.minimum(_skin(rng) * rng.uniform(*_SKIN_BRIGHTNESS), 1.0)
    natural = skin * np.array([0.92, 0.62, 0.60]) * rng.uniform(0.8, 1.05)
    lipstick = lab_to_linear(rng.uniform(28, 55), rng.uniform(30, 60), rng.uniform(0, 35))
    gloved = np.array(_GLOVES[rng.choice(6, p=(0.34, 0.28, 0.14, 0.06, 0.1, 0.08))]) * rng.uniform(0.8, 1.1)
    finger = gloved if rng.random() < _GLOVED_SHARE else _skin(rng)
    holders = (natural, skin, gloved, *map(np.array, _RETRACTORS))
    held = int(rng.choice(7, p=(0.34, 0.12, 0.12, 0.12, 0.14, 0.06, 0.1)))
    return Outside(
        skin=skin,
        red=lipstick if rng.random() < _LIPSTICK_SHARE else natural,
        beard=rng.uniform(0.2, 1.0) if rng.random() < _BEARD_SHARE else 0.0,
        blotches=rng.uniform(0.3, 1.0),
        finger=finger,
        holder=np.asarray(holders[held]),
        retractor=held >= _FIRST_RETRACTOR,
        plastic=np.array(_PLASTICS[rng.integers(len(_PLASTICS))]),
        ground=_GROUNDS[rng.integers(len(_GROUNDS))] * rng.uniform(0.3, 1.2, 3),
        cloth=_CLOTHS[rng.integers(len(_CLOTHS))] * rng.uniform(0.6, 1.2, 3),
        dam=np.array(_DAMS[rng.choice(6, p=(0.3, 0.3, 0.12, 0.08, 0.12, 0.08))]) * rng.uniform(0.75, 1.25),
    )


def paint_outside(coat: Coat, surface: Surface, outside: Outside, material: Material, noise: LatticeNoise) -> Coat:
    """Paint skin, fingers, instruments and rubber dam into a coat, in place; everything else stays as it is.

    Args:
        coat: Coat of the traced points.
        surface: The same points.
        outside: Colours.
        material: The patient's colours, for the inside of the lips.
        noise: The patient's texture.
    """
    for tissue, paint in _PAINTERS.items():
        here = np.flatnonzero(surface.tissue == tissue)
        if len(here):
            paint(coat, here, surface, outside, material, noise)
    return coat


def held_share(outwards: FloatArray, material: Material) -> FloatArray:
    """Share (n,) of the holder's colour on a sheet of lips, at shares (n,) of the way outwards."""
    return np.clip((outwards - material.lip_edge - 0.05) / 0.06, 0, 1)


def _skin(rng: np.random.Generator) -> FloatArray:
    lightness, a, b = _SKIN_LAB[rng.choice(len(_SKIN_LAB), p=_SKIN_SHARES)]
    return lab_to_linear(lightness + rng.normal(0, 3), a + rng.normal(1, 2), b + rng.normal(0, 2))


def _paint_skin(
    coat: Coat, here: IntArray, surface: Surface, outside: Outside, material: Material, noise: LatticeNoise
) -> None:
    """Skin with pores, blotches and beard; the red of the lips with vertical creases; mucosa inside."""
    point = surface.position[here]
    outwards, inside = surface.attributes["margin_mm"][here], surface.attributes["height"][here]
    cloud, fine = noise.octaves(point, 0.05, 3), noise.octaves(point, 0.8, 2)
    creases = noise.octaves(point * [1, 0.16, 0.16], 0.7, 2)
    hairy = np.clip(outwards / 8, 0, 1) * np.clip(0.55 - 0.02 * (point[:, 1] - 8), 0, 1)
    beard = outside.beard * hairy * np.clip(0.55 + 0.8 * noise(point * 1.7, 1.0) + 0.3 * cloud, 0, 1)
    skin = outside.skin * (1 + 0.10 * fine + 0.10 * outside.blotches * cloud)[:, None]
    skin = skin * (1 - np.clip(outside.blotches * (cloud - 0.2), 0, 0.4)[:, None] * [0.1, 0.45, 0.45])
    skin = skin * (1 - beard[:, None] * [0.62, 0.6, 0.52])
    red = outside.red * (1 + 0.10 * cloud + 0.14 * creases)[:, None]
    on_red = np.clip(0.5 - outwards / 1.2, 0, 1)[:, None]
    wet = np.clip(2.2 * inside - 0.2, 0, 1)[:, None]
    colour = (skin * (1 - on_red) + red * on_red) * (1 - wet) + wet * material.mucosa * (1 + 0.1 * cloud)[:, None]
    coat.albedo[here] = np.clip(colour, 0, 1)
    coat.roughness[here] = 0.44 - 0.14 * on_red[:, 0] - 0.1 * wet[:, 0] + 0.04 * fine
    coat.wrap[here], coat.bump[here] = 0.45, 0.02 + 0.03 * on_red[:, 0]
    coat.sheen[here] = 0.55 + 0.35 * on_red + 0.4 * wet


def _paint_finger(
    coat: Coat, here: IntArray, surface: Surface, outside: Outside, material: Material, noise: LatticeNoise
) -> None:
    point = surface.position[here]
    folds = noise.octaves(point, 0.22, 3)
    coat.albedo[here] = np.clip(outside.finger * (1 + 0.10 * folds)[:, None], 0, 1)
    coat.roughness[here], coat.wrap[here], coat.bump[here] = 0.40, 0.35, 0.05
    coat.sheen[here] = 0.7


def _paint_lips(
    coat: Coat, here: IntArray, surface: Surface, outside: Outside, material: Material, noise: LatticeNoise
) -> None:
    """The sheet around a retracted mouth in the holder's colour; its inner rim stays mucosa."""
    share = held_share(surface.attributes["margin_mm"][here], material)[:, None]
    cloud = noise.octaves(surface.position[here], 0.06, 3)
    held = outside.holder * (1 + 0.08 * cloud)[:, None]
    coat.albedo[here] = np.clip(coat.albedo[here] * (1 - share) + held * share, 0, 1)


def _paint_instrument(
    coat: Coat, here: IntArray, surface: Surface, outside: Outside, material: Material, noise: LatticeNoise
) -> None:
    kind, point = np.round(surface.attributes["height"][here]), surface.position[here]
    glass = 0.5 * material.mucosa * (1 + 0.5 * noise.octaves(point, 0.12, 3))[:, None]  # it shows the mouth, vaguely
    fluff = (0.82 * (1 + 0.08 * noise.octaves(point, 0.9, 3)))[:, None] * np.array([1.0, 0.99, 0.95])
    for kinds, colour, roughness, sheen, bump in (
        ((STEEL, FITTED_STEEL), _STEEL, 0.22, 8.0, 0.0), ((GLASS, FITTED_GLASS), glass, 0.12, 3.0, 0.0),
        ((PLASTIC,), outside.plastic, 0.2, 1.2, 0.0), ((COTTON,), fluff, 0.7, 0.2, 0.2),
    ):  # fmt: skip
        of_kind = np.isin(kind, kinds)
        at = here[of_kind]
        coat.albedo[at] = np.clip(colour[of_kind] if colour.ndim == 2 else colour, 0, 1)
        coat.roughness[at], coat.sheen[at], coat.bump[at] = roughness, sheen, bump
    coat.wrap[here] = 0.1


def _paint_dam(
    coat: Coat, here: IntArray, surface: Surface, outside: Outside, material: Material, noise: LatticeNoise
) -> None:
    powder = noise.octaves(surface.position[here], 0.5, 3)
    coat.albedo[here] = np.clip(outside.dam * (1 + 0.10 * powder)[:, None], 0, 1)
    coat.roughness[here], coat.wrap[here], coat.bump[here], coat.sheen[here] = 0.5, 0.25, 0.03, 0.5


def _paint_throat(
    coat: Coat, here: IntArray, surface: Surface, outside: Outside, material: Material, noise: LatticeNoise
) -> None:
    coat.albedo[here] = 0.07 * material.mucosa * (1 + 0.5 * noise.octaves(surface.position[here], 0.06, 2))[:, None]
    coat.sheen[here], coat.bump[here] = 0.05, 0.0


def _paint_ground(
    coat: Coat, here: IntArray, surface: Surface, outside: Outside, material: Material, noise: LatticeNoise
) -> None:
    point, is_cloth = surface.position[here], surface.attributes["height"][here] >= CLOTH / 2
    ground = outside.ground * (1 + 0.15 * noise.octaves(point, 0.004, 3))[:, None]
    cloth = outside.cloth * (1 + 0.12 * noise.octaves(point, 0.5, 2))[:, None]
    coat.albedo[here] = np.clip(np.where(is_cloth[:, None], cloth, ground), 0, 1)
    coat.roughness[here], coat.sheen[here], coat.bump[here] = 0.8, 0.1, 0.0


_Painter = Callable[[Coat, IntArray, Surface, Outside, Material, LatticeNoise], None]
_PAINTERS: Final[dict[Tissue, _Painter]] = {
    Tissue.SKIN: _paint_skin,
    Tissue.FINGER: _paint_finger,
    Tissue.LIP: _paint_lips,
    Tissue.INSTRUMENT: _paint_instrument,
    Tissue.DAM: _paint_dam,
    Tissue.THROAT: _paint_throat,
    Tissue.GROUND: _paint_ground,
}
