"""A dental survey of procedural mouths, side by side with published figures.

Everything is measured on the mouths' parameters and meshes, not on images. Each published figure names its source and,
where it differs from ours, its population.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.phantom.anatomy import GUM_COVER_MM, Arch
from dentgen.phantom.arch import DentalArch, Slot, build_arch
from dentgen.phantom.lesions import Lesions, sample_lesions
from dentgen.phantom.light import LIGHT_KINDS, sample_lighting
from dentgen.phantom.material import GUM_LAB, Material, sample_material
from dentgen.phantom.style import Shape, sample_shape
from dentgen.progress import tracked
from dentgen.quality.metrics import linear_to_lab
from dentgen.seeding import numpy_generator

_OROZCO: Final = "Orozco-Varo 2015, J Prosthet Dent 113:565, 412 adults"
_TEETH: Final = "NHANES 1999-2004 (NIDCR), ages 20-34"
_MAGRAW: Final = "Magraw 2016, doi 10.1016/j.joms.2015.08.009, ages 20-29"
_NHANES_FILLED: Final = "NHANES 2017-2020 (CDC), youngest adults, of those with any decay experience"
_UK: Final = "Adult Dental Health Survey 2009, UK, all ages, as quoted by others"
_ESTRICH: Final = "Estrich 2021, doi 10.1111/jphd.12456"
_CARIES: Final = "NHANES 2011-2012, ages 20-64"
_BRUNELLE: Final = "Brunelle 1996, doi 10.1177/002203459607502S10"
_ARCHES: Final = "76 Class I casts, study mean, its landmarks"
_TURGUT: Final = "Turgut, Niger J Clin Pract, 640 people aged 18-22"
_ITO: Final = "Ito, gingival clusters of 120 people"

Measure = Callable[["Mouth"], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Mouth:
    """The measured parts of one patient."""

    shape: Shape
    arches: dict[Arch, DentalArch]
    lesions: Lesions
    material: Material

    def teeth(self, arch: Arch, form: int) -> list[Slot]:
        """The left and right tooth of a position (1 is the central incisor), present or not."""
        return [slot for slot in self.arches[arch].slots if slot.form == form]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the survey.

    Attributes:
        name: Measured quantity with its unit.
        found, spread: Mean and standard deviation over teeth or mouths.
        published: Mean of a published survey.
        source: Citation and population of that survey.
    """

    name: str
    found: float
    spread: float
    published: float
    source: str


def survey_mouths(seed: int, count: int) -> list[Figure]:
    """Measure the first ``count`` adults of the phantom set with this seed."""
    numbers = tracked(range(count), "mouths", "mouth")
    mouths = [_mouth(seed, f"s{seed}-p{number:06d}") for number in numbers]
    figures = []
    for name, measure, published, source in _MEASURES:
        values = np.concatenate([np.asarray(measure(mouth), float) for mouth in mouths])
        figures.append(Figure(name, float(values.mean()), float(values.std()), published, source))
    return figures


def survey_lights(seed: int, count: int) -> dict[str, float]:
    """Describe the lighting of the first ``count`` frontal views.

    Returns:
        ``share_KIND`` of every kind of light; ``off_axis_deg_pN``, percentiles of the lamps' mean direction off the
        lens axis, degrees; ``exposure_sd``, the standard deviation of the exposure target.
    """
    lights = [sample_lighting(numpy_generator(seed, f"s{seed}-p{n:06d}-frontal", "light")) for n in range(count)]
    weights = [np.array([lamp.strength.mean() for lamp in light.lamps]) for light in lights]
    centres = [
        np.average([lamp.position[:2] for lamp in light.lamps], 0, weight)
        for light, weight in zip(lights, weights, strict=True)
    ]
    off_axis = np.degrees(np.arctan2(np.linalg.norm(centres, axis=1), 260.0))
    return {
        **{f"share_{kind}": sum(light.kind == kind for light in lights) / count for kind in LIGHT_KINDS},
        **{f"off_axis_deg_p{p}": float(np.percentile(off_axis, p)) for p in (5, 50, 95)},
        "exposure_sd": float(np.std([light.target for light in lights])),
    }


def figure_table(figures: Sequence[Figure]) -> str:
    """Format figures as a Markdown table."""
    rows = [f"| {f.name} | {f.found:.2f} ± {f.spread:.2f} | {f.published:.2f} | {f.source} |" for f in figures]
    return "\n".join(["| figure | procedural, ± sd | published | source |", "|---|---|---|---|", *rows])


def _mouth(seed: int, group: str) -> Mouth:
    shape = sample_shape(numpy_generator(seed, group, "shape"), numpy_generator(seed, group, "braces"))
    lesions = _visible_lesions(sample_lesions("permanent", numpy_generator(seed, group, "lesions")), shape)
    upper = build_arch("upper", shape, None, numpy_generator(seed, group, "upper arch"))
    lower = build_arch("lower", shape, None, numpy_generator(seed, group, "lower arch"))
    material = sample_material(numpy_generator(seed, group, "material"), lesions)
    return Mouth(shape, {"upper": upper, "lower": lower}, lesions, material)


def _visible_lesions(lesions: Lesions, shape: Shape) -> Lesions:
    """Drop lesions of missing teeth, and fillings and decay under crowns, as an examination would."""
    crowns = {fdi: kind for fdi, kind in lesions.crowns.items() if fdi not in shape.missing}
    hidden = shape.missing | crowns.keys()
    fillings = tuple(filling for filling in lesions.fillings if filling.spot.fdi not in hidden)
    caries = tuple(caries for caries in lesions.caries if caries.spot.fdi not in hidden)
    return replace(lesions, fillings=fillings, crowns=crowns, caries=caries)


def _width(arch: Arch, form: int) -> Measure:
    return lambda mouth: [slot.size.mesiodistal for slot in mouth.teeth(arch, form)]


def _clinical_length(form: int) -> Measure:
    """Length of an upper crown that the gum leaves visible."""
    return lambda mouth: [
        slot.size.height - GUM_COVER_MM[form - 1] + mouth.shape.recession_mm for slot in mouth.teeth("upper", form)
    ]


def _distance(arch: Arch, form: int) -> Measure:
    """Distance between the tips of a pair of teeth, mm; empty if one is missing."""

    def measure(mouth: Mouth) -> list[float]:
        pair = [slot.vertices for slot in mouth.teeth(arch, form) if slot.vertices is not None]
        tips = [vertices[(vertices @ mouth.arches[arch].rootwards).argmin()] for vertices in pair]
        return [float(np.linalg.norm(tips[0] - tips[1]))] if len(tips) == 2 else []

    return measure


def _overbite(mouth: Mouth) -> list[float]:
    """Vertical overlap of the upper over the lower central incisors, mm."""
    reach = []
    for arch in ("upper", "lower"):
        edges = [
            slot.vertices @ mouth.arches[arch].rootwards for slot in mouth.teeth(arch, 1) if slot.vertices is not None
        ]
        reach.append(-np.mean([edge.min() for edge in edges]))
    return [float(sum(reach)) - mouth.shape.opening_mm]


def _enamel(fdi: int, channel: int) -> Measure:
    return lambda mouth: [_lab(mouth.material.enamel * mouth.material.tooth_tint[fdi] / 1.1)[channel]]


def _pink_gum(channel: int) -> Measure:
    def measure(mouth: Mouth) -> list[float]:
        return [_lab(mouth.material.gum / 1.2)[channel]] if mouth.material.gum_kind == "pink" else []

    return measure


def _lab(linear: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in linear_to_lab(np.clip(linear, 0, 1))]


_MEASURES: Final[tuple[tuple[str, Measure, float, str], ...]] = (
    ("width of upper central incisors, mm", _width("upper", 1), 8.71, _OROZCO),
    ("width of upper lateral incisors, mm", _width("upper", 2), 6.75, _OROZCO),
    ("width of upper canines, mm", _width("upper", 3), 7.81, _OROZCO),
    ("clinical length of upper central incisors, mm", _clinical_length(1), 10.23, _OROZCO),
    ("clinical length of upper lateral incisors, mm", _clinical_length(2), 8.59, _OROZCO),
    ("clinical length of upper canines, mm", _clinical_length(3), 9.93, _OROZCO),
    ("distance of upper canines' tips, mm", _distance("upper", 3), 35.41, _ARCHES),
    ("distance of lower canines' tips, mm", _distance("lower", 3), 26.85, _ARCHES),
    ("overbite of incisors, mm", _overbite, 2.9, _BRUNELLE),
    ("teeth present of 28", lambda mouth: [28 - len(mouth.shape.missing)], 26.90, _TEETH),
    ("third molars", lambda mouth: [2 * sum(mouth.shape.third_molars)], 1.48, _MAGRAW),
    ("mouths without third molars, share", lambda mouth: [not any(mouth.shape.third_molars)], 0.47, _MAGRAW),
    ("filled teeth", lambda mouth: [len(mouth.lesions.fillings)], 4.8, _NHANES_FILLED),
    ("mouths with a filling, share", lambda mouth: [bool(mouth.lesions.fillings)], 0.84, _UK),
    (
        "amalgam among fillings, share",
        lambda mouth: [filling.kind == "amalgam" for filling in mouth.lesions.fillings],
        0.515,
        _ESTRICH,
    ),
    ("mouths with a crown, share", lambda mouth: [bool(mouth.lesions.crowns)], 0.37, _UK),
    ("mouths with untreated decay, share", lambda mouth: [bool(mouth.lesions.caries)], 0.27, _CARIES),
    ("mouths with visible plaque, share", lambda mouth: [mouth.lesions.plaque > 0], 0.66, _UK),
    ("lightness L* of lower incisors", _enamel(31, 0), 80.5, _TURGUT),
    ("yellowness b* of lower incisors", _enamel(31, 2), 15.1, _TURGUT),
    ("yellowness b* of upper canines", _enamel(13, 2), 21.3, _TURGUT),
    ("lightness L* of pink gum", _pink_gum(0), GUM_LAB["pink"][0], _ITO),
    ("redness a* of pink gum", _pink_gum(1), GUM_LAB["pink"][1], _ITO),
)
