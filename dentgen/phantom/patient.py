"""One patient's mouth: both arches with gum, soft tissue and appliances, built once and shared by all views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.appliance import build_appliance
from dentgen.phantom.arch import DentalArch, build_arch
from dentgen.phantom.camera import OCCLUSAL_VIEWS, View
from dentgen.phantom.fracture import break_teeth
from dentgen.phantom.gum import Gum, build_gum
from dentgen.phantom.hollow import hollow_teeth
from dentgen.phantom.lesions import Lesions
from dentgen.phantom.mesh import Part
from dentgen.phantom.mouth import build_cheeks, build_floor, build_palate, build_tongue
from dentgen.phantom.plaster_cast import build_cast
from dentgen.phantom.style import Shape, sample_child_shape, sample_shape
from dentgen.seeding import numpy_generator

_LOWER_BEHIND_UPPER_MM = {"permanent": 2.6, "deciduous": 1.9}
_ADULT_ARCH_WIDTH_MM = 62.0


@dataclass(frozen=True, slots=True)
class Jaw:
    """One arch with everything attached to it.

    Attributes:
        teeth: The posed teeth.
        gum: The gum.
        soft: Palate, or mouth floor and tongue.
        appliance: Brackets, ligatures and wire; empty without braces.
    """

    teeth: DentalArch
    gum: Gum
    soft: tuple[Part, ...]
    appliance: tuple[Part, ...] = ()

    def parts(self) -> list[Part]:
        """All meshes of the jaw."""
        return [*self.teeth.tooth_parts(), *self.appliance, self.gum.part, *self.soft]

    def cast_parts(self) -> list[Part]:
        """Meshes of the jaw's cast: teeth, appliance, gum and base, no other soft tissue."""
        return [*self.teeth.tooth_parts(), *self.appliance, *build_cast(self.gum, self.teeth.rootwards)]


@dataclass(frozen=True, slots=True)
class Patient:
    """A closed mouth, up to the patient's bite opening.

    Attributes:
        group: Name of the patient, shared by all records.
        shape: The patient's shape.
        upper, lower: The jaws, both with the occlusal plane at y = 0.
    """

    group: str
    shape: Shape
    upper: Jaw
    lower: Jaw

    @property
    def scale(self) -> float:
        """Size of the mouth, 1 for an adult's."""
        return 1.0 if self.shape.dentition == "permanent" else self.shape.arch_width_mm / _ADULT_ARCH_WIDTH_MM

    @property
    def front_mm(self) -> float:
        """Largest z of any tooth, mm."""
        return max(self.upper.teeth.front_mm, self.lower.teeth.front_mm)

    def visible_parts(self, view: View, opening_mm: float | None = None) -> list[Part]:
        """Meshes that a view can see: both jaws, or for occlusal views one jaw with the cheeks behind it.

        Args:
            view: Standard view.
            opening_mm: Distance by which the lower jaw is lowered; None for the patient's own bite.
        """
        if view in OCCLUSAL_VIEWS:
            return self.single_jaw_parts(self.occlusal_jaw(view))
        return self._occluding(self.upper.parts(), self.lower.parts(), opening_mm)

    def single_jaw_parts(self, jaw: Jaw) -> list[Part]:
        """Meshes of one jaw of an open mouth, with the cheeks behind it."""
        return [*jaw.parts(), self._cheeks(jaw)]

    def cast_parts(self, view: View) -> list[Part]:
        """Meshes that a view of the scan model can see: casts of both jaws, or for occlusal views of one."""
        if view in OCCLUSAL_VIEWS:
            return self.occlusal_jaw(view).cast_parts()
        return self._occluding(self.upper.cast_parts(), self.lower.cast_parts())

    def occlusal_jaw(self, view: View) -> Jaw:
        """The jaw that an occlusal view shows."""
        return self.upper if view == "upper-occlusal" else self.lower

    def _occluding(self, upper: list[Part], lower: list[Part], opening_mm: float | None = None) -> list[Part]:
        opening = np.array([0.0, -self.shape.opening_mm if opening_mm is None else -opening_mm, 0.0])
        return [*upper, *(part.moved(opening) for part in lower)]

    def _cheeks(self, jaw: Jaw) -> Part:
        rng = numpy_generator("cheeks", self.group, jaw.teeth.arch)
        return build_cheeks(jaw.teeth.arch, self.front_mm, jaw.teeth.rootwards, rng)


def build_patient(seed: int, group: str, dentition: Dentition = "permanent", lesions: Lesions | None = None) -> Patient:
    """Build the mouth determined by ``(seed, group)``, with the broken crowns and open cavities of ``lesions``."""
    shapes = numpy_generator(seed, group, "shape")
    if dentition == "permanent":
        shape = sample_shape(shapes, numpy_generator(seed, group, "braces"))
    else:
        shape = sample_child_shape(shapes)
    upper = build_arch("upper", shape, None, numpy_generator(seed, group, "upper arch"))
    front = upper.curve.depth_mm - _LOWER_BEHIND_UPPER_MM[dentition]
    lower = build_arch("lower", shape, front, numpy_generator(seed, group, "lower arch"))
    return Patient(
        group,
        shape,
        _jaw(upper, shape, lesions, numpy_generator(seed, group, "upper gum")),
        _jaw(lower, shape, lesions, numpy_generator(seed, group, "lower gum")),
    )


def _jaw(teeth: DentalArch, shape: Shape, lesions: Lesions | None, rng: np.random.Generator) -> Jaw:
    gum = build_gum(teeth, shape, rng)
    broken = lesions is not None and bool(lesions.fractures)
    appliance = build_appliance(teeth) if teeth.arch in shape.braced and not broken else ()
    if lesions is not None:
        teeth = hollow_teeth(break_teeth(teeth, lesions.fractures), lesions.caries)
    if teeth.arch == "upper":
        return Jaw(teeth, gum, (build_palate(gum.lingual_edge, teeth.rootwards, rng),), appliance)
    floor = build_floor(gum.lingual_edge, teeth.rootwards)
    tongue = build_tongue(gum.lingual_edge, shape.arch_width_mm - 5, teeth.rootwards, rng)
    return Jaw(teeth, gum, (floor, tongue), appliance)
