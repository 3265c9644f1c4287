"""One patient: both arches with gum, built once and shared by all views of that mouth.

Knows anatomy; refuses to know cameras, maps and colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dentgen.conditions.phantom.arch import DentalArch, build_arch
from dentgen.conditions.phantom.camera import View
from dentgen.conditions.phantom.gum import Gum, build_gum
from dentgen.conditions.phantom.mesh import Part
from dentgen.conditions.phantom.mouth import build_cheeks, build_floor, build_palate, build_tongue
from dentgen.conditions.phantom.style import Shape, sample_shape
from dentgen.seeding import numpy_generator

_LOWER_BEHIND_UPPER_MM = 2.6


@dataclass(frozen=True, slots=True)
class Jaw:
    """One arch with everything that hangs on it."""

    teeth: DentalArch
    gum: Gum
    soft: tuple[Part, ...]

    def parts(self) -> list[Part]:
        """All meshes of the jaw."""
        return [*self.teeth.tooth_parts(), self.gum.part, *self.soft]


@dataclass(frozen=True, slots=True)
class Patient:
    """A mouth in occlusion (up to the patient's bite opening)."""

    group: str
    shape: Shape
    upper: Jaw
    lower: Jaw

    @property
    def front_mm(self) -> float:
        """Z of the foremost tooth."""
        return max(self.upper.teeth.front_mm, self.lower.teeth.front_mm)

    def visible_parts(self, view: View) -> list[Part]:
        """Meshes that a view can see: both jaws, or one with cheeks behind it for the occlusal views."""
        if view in {"upper-occlusal", "lower-occlusal"}:
            jaw = self.upper if view == "upper-occlusal" else self.lower
            return [*jaw.parts(), self._cheeks(jaw)]
        opening = np.array([0.0, -self.shape.opening_mm, 0.0])
        return [*self.upper.parts(), *(part.moved(opening) for part in self.lower.parts())]

    def _cheeks(self, jaw: Jaw) -> Part:
        rng = numpy_generator("cheeks", self.group, jaw.teeth.arch)
        return build_cheeks(jaw.teeth.arch, self.front_mm, jaw.teeth.rootwards, rng)


def build_patient(seed: int, group: str) -> Patient:
    """Build the mouth named by (seed, group)."""
    shape = sample_shape(numpy_generator(seed, group, "shape"))
    upper = build_arch("upper", shape, None, numpy_generator(seed, group, "upper arch"))
    front = upper.curve.depth_mm - _LOWER_BEHIND_UPPER_MM
    lower = build_arch("lower", shape, front, numpy_generator(seed, group, "lower arch"))
    return Patient(
        group,
        shape,
        _jaw(upper, shape, numpy_generator(seed, group, "upper gum")),
        _jaw(lower, shape, numpy_generator(seed, group, "lower gum")),
    )


def _jaw(teeth: DentalArch, shape: Shape, rng: np.random.Generator) -> Jaw:
    gum = build_gum(teeth, shape, rng)
    if teeth.arch == "upper":
        return Jaw(teeth, gum, (build_palate(gum.lingual_edge, teeth.rootwards, rng),))
    floor = build_floor(gum.lingual_edge, teeth.rootwards)
    tongue = build_tongue(gum.lingual_edge, shape.arch_width_mm - 5, teeth.rootwards, rng)
    return Jaw(teeth, gum, (floor, tongue))
