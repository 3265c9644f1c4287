"""What one picture of a varied set shows: framing, camera, and everything before and around the teeth."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Final

import numpy as np

from dentgen.phantom.camera import OCCLUSAL_VIEWS, Camera, View, sample_camera
from dentgen.phantom.mesh import Part, Tissue
from dentgen.phantom.mouth import build_lips
from dentgen.phantom.patient import Jaw, Patient
from dentgen.phantom.surroundings.dam import build_clamp, build_dam, isolated_teeth
from dentgen.phantom.surroundings.face import Smile, build_face, sample_smile
from dentgen.phantom.surroundings.framing import framed_camera
from dentgen.phantom.surroundings.mix import FRAMINGS, PROPS, Framing, Mix
from dentgen.phantom.surroundings.occlusal_mirror import Plane, build_occlusal_mirror, sample_plane
from dentgen.phantom.surroundings.props import build_prop
from dentgen.phantom.surroundings.sides import build_sides
from dentgen.seeding import numpy_generator

#: Share of smiles with parted teeth, and the widest gap, mm.
_PARTED_SHARE, _WIDEST_MM = 0.45, 16.0
#: Share of open mouths whose upper jaw is looked at.
_UPPER_SHARE: Final = 0.4
#: Share of dams with a clamp in reach of the camera.
_CLAMP_SHARE: Final = 0.6
#: Gum farther behind the edge of a lip than this is left out, mm.
_COVERED_MM = 3.0


@dataclass(frozen=True, slots=True)
class Setting:
    """One picture's framing and scene.

    Attributes:
        framing: What the picture takes in.
        camera: The camera.
        parts: All meshes in view.
        things: Names of what lies before the teeth: props, "dam".
        mirrored: Whether the picture is taken in a mirror.
        mirror: The plane of that mirror, if its edge is in view.
    """

    framing: Framing
    camera: Camera
    parts: tuple[Part, ...]
    things: tuple[str, ...]
    mirrored: bool
    mirror: Plane | None = None


def sample_setting(
    mix: Mix,
    patient: Patient,
    view: View,
    seed: int,
    name: str,
    *,
    bare: bool = False,
    diseased: Set[int] = frozenset(),
) -> Setting:
    """Draw the setting of a picture.

    Args:
        mix: Weights and shares.
        patient: The mouth.
        view: Standard view from whose side the picture is taken.
        seed: Seed of the set.
        name: Patient and view, naming the random streams.
        bare: Leave out whatever may hide the teeth, for a picture in which too few are seen.
        diseased: FDI numbers of the teeth that close-ups look at more often.
    """
    stage = _Stage(mix, patient, view, seed, name, bare, diseased)
    rng = stage.rng("setting")
    framing = _framing(mix, view, rng)
    return _before_lips(stage, framing, rng) if framing in ("smile", "face") else _inside(stage, framing, rng)


@dataclass(frozen=True, slots=True)
class _Stage:
    """What a picture's setting is drawn from; arguments as ``sample_setting``."""

    mix: Mix
    patient: Patient
    view: View
    seed: int
    name: str
    bare: bool
    diseased: Set[int]

    def rng(self, purpose: str) -> np.random.Generator:
        return numpy_generator(self.seed, self.name, purpose)

    def camera(self, framing: Framing, opening_mm: float, jaw: Jaw | None = None) -> Camera:
        rng = self.rng("camera")
        return framed_camera(framing, self.view, self.patient, opening_mm, rng, self.diseased, jaw)


def _before_lips(stage: _Stage, framing: Framing, rng: np.random.Generator) -> Setting:
    """A smile or face, with nothing before it."""
    patient, face = stage.patient, stage.rng("face")
    opening = _opening(patient, rng)
    smile = sample_smile(opening, face)
    jaws = [_behind_lips(part, smile) for part in patient.visible_parts(stage.view, opening)]
    parts = (*jaws, *build_face(patient, smile, face))
    return Setting(framing, stage.camera(framing, opening), parts, (), False)


def _inside(stage: _Stage, framing: Framing, rng: np.random.Generator) -> Setting:
    """Teeth behind retracted lips, under dam or in a mirror, with props before them."""
    mix, patient, view, bare = stage.mix, stage.patient, stage.view, stage.bare
    jaw = _open_jaw(mix, framing, view, patient, stage.rng("open jaw"))
    camera = stage.camera(framing, patient.shape.opening_mm, jaw)
    mirrored = view in OCCLUSAL_VIEWS and bool(rng.random() < mix.mirrored)
    props = tuple(prop for prop in PROPS if rng.random() < mix.props.get(prop, 0.0) and not bare)
    things = [part for prop in props for part in build_prop(prop, camera, stage.rng(prop))]
    if framing == "close-up" and view in OCCLUSAL_VIEWS and rng.random() < mix.dam and not bare:
        sheet = _under_dam(patient, view, camera, stage.rng("dam"))
        return Setting(framing, camera, (*sheet, *things), ("dam", *props), mirrored)
    mouth = patient.visible_parts(view) if jaw is None else patient.single_jaw_parts(jaw)
    edge = stage.rng("mirror edge")
    if mirrored and framing == "clinical" and not props and edge.random() < mix.edges and not bare:
        plane = sample_plane(mouth, camera, edge)
        rim = build_occlusal_mirror(mouth, camera, plane, edge)
        return Setting(framing, camera, (*mouth, *rim), (), mirrored, plane)
    around = _around(stage, framing, camera, rng)
    return Setting(framing, camera, (*mouth, *around, *things), props, mirrored)


def _around(stage: _Stage, framing: Framing, camera: Camera, rng: np.random.Generator) -> list[Part]:
    """Retracted lips, and what lies along the sides of a near picture."""
    near, side = framing in ("close-up", "quadrant"), stage.rng("sides")
    has_lips = not near or (not stage.bare and rng.random() < stage.mix.lips)
    lips = [_lips(stage.patient, stage.view, camera, framing, stage.seed, stage.name)] if has_lips else []
    has_sides = near and not stage.bare and side.random() < stage.mix.sides
    return [*lips, *(build_sides(camera, side) if has_sides else [])]


def _framing(mix: Mix, view: View, rng: np.random.Generator) -> Framing:
    names = [name for name in FRAMINGS if name in mix.framings]  # the order in a file decides nothing
    if view in OCCLUSAL_VIEWS:
        names = [name for name in names if name not in ("smile", "face")]
    weights = np.array([mix.framings[name] for name in names])
    return names[rng.choice(len(names), p=weights / weights.sum())] if weights.sum() else "clinical"


def _open_jaw(mix: Mix, framing: Framing, view: View, patient: Patient, rng: np.random.Generator) -> Jaw | None:
    """The only jaw in reach of a near camera at the side of a mouth that is opened wide; None for both."""
    if framing not in ("close-up", "quadrant") or view in OCCLUSAL_VIEWS or rng.random() >= mix.wide:
        return None
    return patient.upper if rng.random() < _UPPER_SHARE else patient.lower


def _opening(patient: Patient, rng: np.random.Generator) -> float:
    parted = rng.random() < _PARTED_SHARE
    return float(rng.uniform(2, _WIDEST_MM) * patient.scale) if parted else patient.shape.opening_mm


def _lips(patient: Patient, view: View, camera: Camera, framing: Framing, seed: int, name: str) -> Part:
    """Retracted lips that fit the camera, or for near cameras one that would take in the whole mouth."""
    if framing != "clinical":
        camera = sample_camera(view, patient.front_mm, numpy_generator(seed, name, "lip camera"), patient.scale)
    return build_lips(camera, numpy_generator(seed, name, "lips"))


def _behind_lips(part: Part, smile: Smile) -> Part:
    """A part without the mucosa beyond the gum and the gum that lips cover, which they press flat."""
    tissue = np.broadcast_to(np.asarray(part.tissue), len(part.faces))
    height = part.vertices[part.faces, 1].mean(1)
    covered = (height > smile.upper_mm + _COVERED_MM) | (height < smile.lower_mm - _COVERED_MM)
    buccal = part.attributes["buccal"][part.faces].mean(1) > 0.5 if "buccal" in part.attributes else False
    kept = (tissue != Tissue.MUCOSA) & ~((tissue == Tissue.GUM) & covered & buccal)
    return Part(part.vertices, part.faces[kept], tissue[kept], part.fdi, part.attributes, part.facing, part.centre)


def _under_dam(patient: Patient, view: View, camera: Camera, rng: np.random.Generator) -> list[Part]:
    """Some teeth of an occlusal view's arch, the sheet out of which they stand and often its clamp."""
    arch = patient.occlusal_jaw(view).teeth
    teeth = isolated_teeth(arch, camera, rng)
    numbers = {slot.fdi for slot in teeth}
    crowns = [part for part in arch.tooth_parts() if part.fdi in numbers]
    sheet = build_dam(arch, teeth, rng)
    return [*crowns, sheet, *(build_clamp(arch, teeth, rng) if rng.random() < _CLAMP_SHARE else [])]
