"""Colours of one patient's tissues, and the prompt words for them.

Tooth shades are VITA shades in CIE Lab (O'Brien 1990), gum colours are the clusters of Ito; corrections to both and all
other colours and amounts were chosen by eye.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from dentgen.phantom.anatomy import Dentition, FloatArray
from dentgen.phantom.lesions import Lesions

#: CIE Lab of VITA shades (O'Brien 1990).
VITA_LAB: Final[dict[str, tuple[float, float, float]]] = {
    "A1": (79.6, -1.6, 13.1), "A2": (76.0, -0.1, 16.7), "A3": (75.4, 1.4, 19.6), "A3.5": (72.3, 1.5, 21.8),
    "A4": (68.6, 1.6, 21.0), "B1": (78.9, -1.8, 12.3), "B2": (76.7, -1.6, 16.6), "B3": (74.1, 0.5, 22.3),
    "C1": (74.3, -1.3, 12.6), "D2": (75.3, -0.5, 13.5),
}  # fmt: skip
#: VITA shades by prompt word.
SHADE_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "white": ("A1", "B1", "C1"),
    "ivory": ("A2", "B2", "D2"),
    "yellow": ("A3", "A3.5", "A4", "B3"),
}
#: CIE Lab of gum by prompt word, after Ito.
GUM_LAB: Final[dict[str, tuple[float, float, float]]] = {
    "pink": (51, 27.7, 18.3),
    "pale": (61.4, 24.3, 17.6),
    "dark": (36.1, 21.0, 16.0),
}
#: Amount of marginal reddening from which a prompt says "inflamed".
INFLAMED_FROM: Final = 0.9
_SHADE_SHARES: Final[dict[Dentition, tuple[float, ...]]] = {
    "permanent": (1 / 3, 1 / 3, 1 / 3), "deciduous": (0.7, 0.2, 0.1),
}  # fmt: skip
#: Linear RGB of ligatures: grey, clear, blue, turquoise, pink, red, green, violet.
_LIGATURES: Final = (
    (0.30, 0.31, 0.32), (0.75, 0.72, 0.66), (0.03, 0.12, 0.55), (0.03, 0.42, 0.45),
    (0.75, 0.16, 0.36), (0.50, 0.03, 0.04), (0.05, 0.38, 0.10), (0.25, 0.08, 0.45),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Material:
    """Colours (linear RGB) and amounts of one patient.

    Attributes:
        shade: VITA shade of the teeth.
        gum_kind: Key of ``GUM_LAB``.
        enamel, gum, mucosa, palate, tongue, lip: (3,) colours.
        tooth_tint: (100, 3) colour factor by FDI number.
        cervix, translucency, fissure_stain, exposed_dentine, white_spots, inflammation, pigment: Amounts, 0 to about
            1.6.
        keratin_mm: Width of the attached gum, before the mucosa.
        lip_edge: Share of the lip sheet that is red.
        grain: Spatial frequency of the surface relief, per mm.
        wetness: Saliva on gum and teeth, 0..1.
        ligature: (3,) colour of the elastic ligatures of a fixed appliance.
        lesions: Restorations, caries, plaque and stain.
    """

    shade: str
    gum_kind: str
    enamel: FloatArray
    gum: FloatArray
    mucosa: FloatArray
    palate: FloatArray
    tongue: FloatArray
    lip: FloatArray
    tooth_tint: FloatArray
    cervix: float
    translucency: float
    fissure_stain: float
    exposed_dentine: float
    white_spots: float
    inflammation: float
    pigment: float
    keratin_mm: float
    lip_edge: float
    grain: float
    wetness: float
    ligature: FloatArray
    lesions: Lesions

    @property
    def shade_word(self) -> str:
        """Prompt word for the tooth shade: white, ivory or yellow."""
        return next(word for word, shades in SHADE_WORDS.items() if self.shade in shades)

    @property
    def gum_word(self) -> str:
        """Prompt word for the gum: pink, pale, dark or inflamed."""
        return "inflamed" if self.inflammation >= INFLAMED_FROM else self.gum_kind


def sample_material(rng: np.random.Generator, lesions: Lesions, dentition: Dentition = "permanent") -> Material:
    """Draw a patient's colours; an adult's three shade words are equally likely, deciduous teeth are seldom yellow."""
    word = list(SHADE_WORDS)[rng.choice(3, p=_SHADE_SHARES[dentition])]
    shade = SHADE_WORDS[word][rng.integers(len(SHADE_WORDS[word]))]
    lightness, a, b = VITA_LAB[shade]
    enamel = lab_to_linear(lightness + 6 + rng.normal(0, 1.2), a + rng.normal(0.6, 0.5), b * 0.92 + rng.normal(0, 1.0))
    kind = list(GUM_LAB)[rng.choice(3, p=[0.5, 0.3, 0.2])]
    red = GUM_LAB[kind]
    inflamed = rng.random() < 0.25
    enamel = np.minimum(enamel, 0.95) * 1.1
    return Material(
        shade=shade,
        gum_kind=kind,
        enamel=enamel,
        gum=1.2 * lab_to_linear(red[0] + rng.normal(3, 2.5), red[1] + rng.normal(-2.5, 2), red[2] + rng.normal(2.5, 2)),
        mucosa=lab_to_linear(red[0] - 5 + rng.normal(0, 2), red[1] + 4, red[2] + 4) * 1.1,
        palate=lab_to_linear(red[0] + 9, red[1] - 5, red[2] + 1) * 1.2,
        tongue=lab_to_linear(46 + rng.normal(0, 3), 28 + rng.normal(0, 3), 14),
        lip=_lip_colour(rng),
        tooth_tint=_tooth_tints(rng),
        cervix=rng.uniform(0.5, 1.3),
        translucency=rng.uniform(0.3, 1.3),
        fissure_stain=rng.uniform(0, 1) ** 1.5,
        exposed_dentine=max(0.0, rng.normal(0.2, 0.4)),
        white_spots=rng.uniform(0, 0.6) * (rng.random() < 0.4),
        inflammation=rng.uniform(1.0, 1.6) if inflamed else rng.uniform(0.05, 0.5),
        pigment=rng.uniform(0.3, 0.9) * (rng.random() < 0.15),
        keratin_mm=rng.uniform(3.8, 6.5),
        lip_edge=rng.uniform(0, 0.16),
        grain=rng.uniform(0.8, 1.3),
        wetness=rng.uniform(0.2, 1.0),
        ligature=np.array(_LIGATURES[rng.integers(len(_LIGATURES))]),
        lesions=lesions,
    )


def lab_to_linear(lightness: float, a: float, b: float) -> FloatArray:
    """Convert CIE Lab (D65) to linear sRGB (3,), clipped to 0..1 (IEC 61966-2-1)."""
    fy = (lightness + 16) / 116
    f = np.array([fy + a / 500, fy, fy - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9505, 1.0, 1.089]
    matrix = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    return np.clip(matrix @ xyz, 0, 1)


def _tooth_tints(rng: np.random.Generator) -> FloatArray:
    """Jitter of every tooth; canines are yellower, permanent molars slightly."""
    tints = np.ones((100, 3)) * (1 + rng.normal(0, 0.025, (100, 1)))
    for quadrant in (50, 60, 70, 80):
        tints[quadrant + 3] *= [0.99, 0.98, 0.95]
    for quadrant in (10, 20, 30, 40):
        tints[quadrant + 3] *= [0.975, 0.95, 0.895]
        tints[quadrant + 6 : quadrant + 9] *= [0.98, 0.965, 0.93]
    return tints


def _lip_colour(rng: np.random.Generator) -> FloatArray:
    """Colour of cotton or a light retractor, a blue glove, or skin."""
    match rng.choice(3, p=[0.6, 0.12, 0.28]):
        case 0:
            return np.array([0.78, 0.72, 0.66])
        case 1:
            return np.array([0.45, 0.56, 0.72])
        case _:
            return np.array([0.62, 0.36, 0.29]) * rng.uniform(0.55, 1.1)
