"""Photographs of one patient as people take them: any framing, with everything that comes between lens and teeth."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import INSTRUMENT, UPPER_QUADRANTS
from dentgen.conditions.lesion_map import LESIONS
from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.camera import View
from dentgen.phantom.findings import tell_findings
from dentgen.phantom.lesions import Lesions
from dentgen.phantom.maps import lesion_map, mirror_image, world_segmentation_map
from dentgen.phantom.material import INFLAMED_FROM, Material, sample_material
from dentgen.phantom.mesh import Tissue, join_parts
from dentgen.phantom.noise import LatticeNoise
from dentgen.phantom.patient import Patient, build_patient
from dentgen.phantom.photo_session import Shot, geometry_maps
from dentgen.phantom.prompt import ARCH_OF_VIEW, Arch, SceneFacts
from dentgen.phantom.rays.mesh import RayMesh
from dentgen.phantom.scene import Scene, Surface
from dentgen.phantom.shading import Painted, paint
from dentgen.phantom.surroundings.disease import sample_disease
from dentgen.phantom.surroundings.exposure import Exposure, sample_exposure
from dentgen.phantom.surroundings.fluids import Fluids, paint_fluids, sample_fluids
from dentgen.phantom.surroundings.frame import Frame, sample_frame
from dentgen.phantom.surroundings.mix import Mix
from dentgen.phantom.surroundings.occlusal_mirror import Plane, behind_mirror
from dentgen.phantom.surroundings.outside import Outside, held_share, paint_outside, sample_outside
from dentgen.phantom.surroundings.props import MADE_OF
from dentgen.phantom.surroundings.setting import Setting, sample_setting
from dentgen.phantom.surroundings.sides import GLOVE
from dentgen.phantom.surroundings.strands import sample_strands
from dentgen.phantom.swelling import with_swollen_gum
from dentgen.phantom.tissue import coat
from dentgen.phantom.visible_surface import see
from dentgen.seeding import numpy_generator

#: Share of the picture from which a lesion is mentioned: 4 pixels at 128.
_LESION_SHARE: Final = 2e-4
#: Share of teeth below which a picture is taken again, in faces and elsewhere, and how often it is tried.
_FACE_TOOTH_SHARE, _TOOTH_SHARE, _ATTEMPTS = 0.006, 0.02, 3
#: Factor on gum, mucosa, palate and tongue: in 711 photographs all but the teeth has L* 49.6 on average, 15.5 below
#: teeth; 21.7 below without it.
_FLESH_BRIGHTNESS: Final = (1.1, 1.8)
#: Largest albedo; above 1 stands for light from within a bright tooth, and from 4/3 on interreflection has no value.
_WHITEST: Final = 1.25
#: Share of patients with brown patches on the gum.
_PIGMENT_SHARE: Final = 0.28
#: Share of diseased mouths whose gum is inflamed beyond the quarter of all, and how much.
_INFLAMED_SHARE, _INFLAMMATION = 0.3, (0.9, 1.6)
#: Share of the visible teeth from which a jaw is mentioned.
_ARCH_SHARE: Final = 0.05


class VariedSession:
    """A patient, ready to be photographed at one size in settings that a mix decides."""

    def __init__(self, seed: int, group: str, dentition: Dentition, size: int, mix: Mix) -> None:
        """Draw the patient.

        Args:
            seed: Seed of the set.
            group: Name of the patient.
            dentition: Permanent or deciduous teeth.
            size: Edge of the square pictures and maps, pixels.
            mix: What is drawn how often.
        """
        disease = numpy_generator(seed, group, "disease")
        lesions = sample_disease(dentition, bool(disease.random() < mix.disease), disease)
        self._seed, self._size, self._mix, self._group = seed, size, mix, group
        self._material = self._sample_material(lesions, dentition)
        patient = build_patient(seed, group, dentition, lesions)
        swollen = 0.0 if lesions.patchy else self._material.inflammation
        self._patient: Patient = with_swollen_gum(patient, swollen)
        self._diseased = lesions.diseased

    def shoot(self, view: View) -> Shot:
        """Trace and paint one picture, taken from the side of a standard view."""
        seed, size, name = self._seed, self._size, f"{self._group}-{view}"
        frame = sample_frame(self._mix.frames, numpy_generator(seed, name, "frame"))
        setting, scene = self._scene(view, name, frame)
        bleeding = self._material.inflammation >= INFLAMED_FROM
        fluids = sample_fluids(bleeding, numpy_generator(seed, name, "fluids"))
        outside = sample_outside(numpy_generator(seed, name, "outside"))
        texture = numpy_generator(seed, self._group, "texture")
        noise = LatticeNoise(texture)
        brush = partial(self._painted, mirror=setting.mirror, outside=outside, fluids=fluids, noise=noise)
        sight = see(scene, scene.trace_centres(), brush)
        maps = geometry_maps(sight.centres, setting.camera, size)
        maps["seg"] = self._classes(sight.centres, outside)
        maps["lesion"] = lesion_map(sight.centres, size)
        return Shot(
            seed, name, f"{self._group}-{setting.framing}-{view}", self._facts(view, setting, sight.centres), sight,
            mirror_image(maps) if setting.mirrored else maps, texture,
            self._exposure(setting, name),
            frame, sample_strands(sight.centres.surface, setting.camera, size, numpy_generator(seed, name, "strands")),
        )  # fmt: skip

    def _exposure(self, setting: Setting, name: str) -> Exposure:
        rng = numpy_generator(self._seed, name, "exposure")
        return sample_exposure(self._mix.faults, self._mix.black, setting.camera.width_mm, rng)

    def _sample_material(self, lesions: Lesions, dentition: Dentition) -> Material:
        """A patient's colours, brighter than a clinic's exposure shows, and pigmented gum more often."""
        material = sample_material(numpy_generator(self._seed, self._group, "material"), lesions, dentition)
        rng = numpy_generator(self._seed, self._group, "pigment")
        bright = float(rng.uniform(*_FLESH_BRIGHTNESS))
        pigmented = rng.random() < _PIGMENT_SHARE
        pigment = float(rng.uniform(0.3, 1.6)) if pigmented else material.pigment
        inflamed = bool(lesions.diseased) and rng.random() < _INFLAMED_SHARE
        return replace(
            material,
            gum=bright * material.gum,
            mucosa=bright * material.mucosa,
            palate=bright * material.palate,
            tongue=bright * material.tongue,
            pigment=pigment,
            inflammation=float(rng.uniform(*_INFLAMMATION)) if inflamed else material.inflammation,
        )

    def _scene(self, view: View, name: str, frame: Frame | None) -> tuple[Setting, Scene]:
        """The setting and its traced scene; drawn again without obstacles if it shows hardly any tooth."""
        found: tuple[Setting, Scene] | None = None
        visible = None if frame is None else frame.visible(self._size)
        for attempt in range(_ATTEMPTS):
            again = f"{name}-{attempt}" if attempt else name
            setting = sample_setting(
                self._mix, self._patient, view, self._seed, again, bare=attempt > 0, diseased=self._diseased
            )
            mesh = join_parts(list(setting.parts))
            shown = visible[:, ::-1] if visible is not None and setting.mirrored else visible
            scene = Scene(mesh, RayMesh(mesh.vertices, mesh.faces), setting.camera, self._size, shown)
            found = setting, scene
            least = _FACE_TOOTH_SHARE if setting.framing == "face" else _TOOTH_SHARE
            if (scene.trace_centres().tissue == Tissue.TOOTH).mean() >= least:
                break
        assert found is not None
        return found

    def _painted(
        self, surface: Surface, mirror: Plane | None, outside: Outside, fluids: Fluids, noise: LatticeNoise
    ) -> Painted:
        material, points = self._material, surface if mirror is None else behind_mirror(surface, mirror)
        painted = paint_outside(coat(points, material, noise), points, outside, material, noise)
        painted = paint_fluids(painted, points, fluids, noise)
        np.clip(painted.albedo, 0, _WHITEST, out=painted.albedo)  # interreflection has no value far above 1
        return paint(surface, painted, material.grain, noise)

    def _classes(self, centres: Painted, outside: Outside) -> NDArray[np.uint8]:
        """Classes (H, W); what holds the lips away is an instrument unless it is a hand."""
        seg = world_segmentation_map(centres, self._size)
        if outside.retractor:
            surface = centres.surface
            held = held_share(surface.attributes["margin_mm"], self._material) >= 0.5
            seg[((surface.tissue == Tissue.LIP) & held).reshape(seg.shape)] = INSTRUMENT
        return seg

    def _facts(self, view: View, setting: Setting, centres: Painted) -> SceneFacts:
        counts = np.bincount(lesion_map(centres, self._size).ravel(), minlength=256)
        seen = tuple(
            name for value, name in LESIONS.items() if value and counts[value] >= _LESION_SHARE * self._size**2
        )
        return SceneFacts(
            view=view,
            look="photo",
            dentition=self._patient.shape.dentition,
            mirrored=setting.mirrored,
            shade=self._material.shade_word,
            gum=self._material.gum_word,
            findings=tell_findings(self._patient, self._material, centres),
            framing=setting.framing,
            things=tuple(thing for thing in setting.things if _is_seen(thing, centres.surface)),
            lesions=seen,
            seen_arch=_seen_arch(centres.surface.fdi, view),
        )


def _seen_arch(fdi: NDArray[np.uint8], view: View) -> Arch:
    """The jaws whose teeth make up a part of all teeth that is worth a word."""
    quadrant = fdi[fdi > 0] // 10
    if not len(quadrant):
        return ARCH_OF_VIEW[view]
    upper = float(np.isin(quadrant, UPPER_QUADRANTS).mean())
    return "both" if _ARCH_SHARE <= upper <= 1 - _ARCH_SHARE else "upper" if upper > 0.5 else "lower"


def _is_seen(thing: str, surface: Surface) -> bool:
    """Whether rubber dam or a prop, told by its material, is in a picture."""
    if thing == "dam":
        return bool((surface.tissue == Tissue.DAM).any())
    if thing == "finger":
        return bool(((surface.tissue == Tissue.FINGER) & (surface.attributes["height"] < GLOVE / 2)).any())
    materials = np.round(surface.attributes["height"][surface.tissue == Tissue.INSTRUMENT])
    return any(thing == prop and np.isin(materials, list(kinds)).any() for prop, kinds in MADE_OF.items())
