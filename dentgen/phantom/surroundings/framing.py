"""Cameras of close-ups, quadrants, smiles and faces; the five clinical views have their own module.

Ranges were chosen by eye against photographs that dentists and patients take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np

from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.arch import DentalArch, Slot
from dentgen.phantom.camera import OCCLUSAL_VIEWS, Camera, View, camera_axes, sample_camera
from dentgen.phantom.patient import Jaw, Patient
from dentgen.phantom.surroundings.mix import Framing

_SIDE_OF: Final[dict[View, int]] = {"left": 1, "right": -1}
#: Largest angle between the camera and straight ahead: cheeks are in the way beyond it.
_LARGEST_YAW_DEG: Final = 72.0
#: Share of close-ups that are turned by any angle; others are held about level.
_TURNED_SHARE: Final = 0.15
#: From how far above the biting surfaces a jaw of an open mouth is seen from its side, degrees.
_OPEN_PITCH_DEG: Final = (10, 70)
#: How much more often a molar is looked at than another tooth.
_MOLAR_WEIGHT: Final = 2.5
#: How much more often a diseased tooth is looked at than a sound one: it is why the picture is taken.
_DISEASED_WEIGHT: Final = 20.0
#: Share of close-ups by an intra-oral camera with its lens near the teeth, and the largest distortion of such a lens.
_WAND_SHARE, _LARGEST_BULGE = 0.2, 0.35


def framed_camera(
    framing: Framing,
    view: View,
    patient: Patient,
    opening_mm: float,
    rng: np.random.Generator,
    diseased: Set[int] = frozenset(),
    jaw: Jaw | None = None,
) -> Camera:
    """Place a camera.

    Args:
        framing: What the picture takes in. Smiles and faces are taken from the front or obliquely.
        view: Standard view from whose side the picture is taken.
        patient: The mouth.
        opening_mm: Distance by which the lower jaw is lowered.
        rng: Source of all choices.
        diseased: FDI numbers of the teeth that close-ups look at more often.
        jaw: The one jaw of an open mouth at which a close-up or quadrant looks; None for both.
    """
    match framing:
        case "close-up":
            return _with_lens(_near(view, patient, opening_mm, rng, partial(_close_up, diseased=diseased), jaw), rng)
        case "quadrant":
            return _near(view, patient, opening_mm, rng, _quadrant, jaw)
        case "smile" | "face":
            return _outside(framing, view, patient, opening_mm, rng)
        case _:
            return sample_camera(view, patient.front_mm, rng, patient.scale)


def _near(
    view: View,
    patient: Patient,
    opening_mm: float,
    rng: np.random.Generator,
    choose: Callable[[Sequence[Slot], np.random.Generator], tuple[Sequence[Slot], float]],
    jaw: Jaw | None,
) -> Camera:
    """A camera before some teeth of one arch."""
    arch = _arch(view, patient, rng) if jaw is None else jaw.teeth
    chosen, width = choose(_in_reach(view, arch), rng)
    lowered = np.array(
        [0.0, -opening_mm if arch is patient.lower.teeth and view not in OCCLUSAL_VIEWS and jaw is None else 0.0, 0.0]
    )
    centre = np.mean([_middle(slot) for slot in chosen], axis=0) + lowered
    middle = chosen[len(chosen) // 2]
    _, _, outward = arch.curve.frame(np.array([middle.s]))
    yaw, pitch = _direction(view, outward[0], rng)
    if jaw is not None and view not in OCCLUSAL_VIEWS:
        pitch = float(rng.uniform(*_OPEN_PITCH_DEG)) * float(-jaw.teeth.rootwards[1])
    roll = rng.uniform(-180, 180) if rng.random() < _TURNED_SHARE else rng.normal(0, 8)
    axes = camera_axes(*np.deg2rad([yaw, pitch, roll]))
    shift = rng.normal(0, 0.12, 2) * width
    target = centre + shift[0] * axes[0] + shift[1] * axes[1]
    distance = rng.uniform(110, 260)
    return Camera(view, axes, target + axes[2] * distance, distance, width)


def _arch(view: View, patient: Patient, rng: np.random.Generator) -> DentalArch:
    upper = view == "upper-occlusal" or (view not in OCCLUSAL_VIEWS and rng.random() < 0.6)
    return (patient.upper if upper else patient.lower).teeth


def _in_reach(view: View, arch: DentalArch) -> list[Slot]:
    """Teeth that a view shows, at least one."""
    standing = [slot for slot in arch.slots if slot.vertices is not None]
    if view in OCCLUSAL_VIEWS:
        return standing
    side = _SIDE_OF.get(view)
    near = [slot for slot in standing if (slot.form <= 4 if side is None else slot.side == side and slot.form <= 7)]
    return near or standing


def _with_lens(camera: Camera, rng: np.random.Generator) -> Camera:
    """The same picture by an SLR or a phone, or from nearby by an intra-oral camera's wide lens."""
    if rng.random() >= _WAND_SHARE:
        return camera
    target = camera.eye - camera.axes[2] * camera.distance_mm
    distance = float(rng.uniform(1.2, 2.5)) * camera.width_mm
    eye = target + camera.axes[2] * distance
    return replace(camera, eye=eye, distance_mm=distance, bulge=float(rng.uniform(0, _LARGEST_BULGE)))


def _close_up(slots: Sequence[Slot], rng: np.random.Generator, diseased: Set[int]) -> tuple[Sequence[Slot], float]:
    """One to six neighbours and the width of the picture, mm; few teeth, molars and diseased ones are more frequent."""
    count = min(len(slots), 1 + int(rng.choice(6, p=(0.26, 0.34, 0.22, 0.1, 0.05, 0.03))))
    groups = [slots[first : first + count] for first in range(len(slots) - count + 1)]
    weights = np.array([np.mean([_interest(slot, diseased) for slot in group]) for group in groups])
    chosen = groups[int(rng.choice(len(groups), p=weights / weights.sum()))]
    return chosen, float(np.clip(sum(slot.width_mm for slot in chosen) + rng.uniform(1.0, 9.0), 8.0, 50.0))


def _interest(slot: Slot, diseased: Set[int]) -> float:
    return (_MOLAR_WEIGHT if slot.form >= 6 else 1.0) * (_DISEASED_WEIGHT if slot.fdi in diseased else 1.0)


def _quadrant(slots: Sequence[Slot], rng: np.random.Generator) -> tuple[Sequence[Slot], float]:
    """The teeth of one side and the width of the picture, mm."""
    side = 1 if rng.random() < 0.5 else -1
    chosen = [slot for slot in slots if slot.side == side] or list(slots)
    return chosen, float(rng.uniform(34, 50))


def _middle(slot: Slot) -> FloatArray:
    assert slot.vertices is not None
    return slot.vertices.mean(0)


def _direction(view: View, outward: FloatArray, rng: np.random.Generator) -> tuple[float, float]:
    """Yaw and pitch, degrees, of a camera before a tooth whose face looks ``outward`` (3,)."""
    if view in OCCLUSAL_VIEWS:
        pitch = rng.uniform(42, 88)
        return float(rng.normal(0, 14)), float(-pitch if view == "upper-occlusal" else pitch)
    facing = np.rad2deg(np.arctan2(outward[0], outward[2]))
    yaw = float(np.clip(facing * rng.uniform(0.35, 1.0) + rng.normal(0, 8), -_LARGEST_YAW_DEG, _LARGEST_YAW_DEG))
    return yaw, float(rng.normal(0, 11))


def _outside(framing: Framing, view: View, patient: Patient, opening_mm: float, rng: np.random.Generator) -> Camera:
    """A camera before the lips; a face is taken from farther away and takes in nose and chin."""
    side = _SIDE_OF.get(view, 0)
    yaw = rng.normal(0, 6) if side == 0 else side * rng.uniform(8, 38)
    axes = camera_axes(*np.deg2rad([yaw, rng.normal(2, 6), rng.normal(0, 3)]))
    width = rng.uniform(48, 80) if framing == "smile" else rng.uniform(84, 185)
    centre = np.array([side * 5.0, -0.5 * opening_mm + rng.normal(1, 2), patient.front_mm - 6])
    if framing == "face":
        centre[1] += rng.normal(-2, 7)
    distance = rng.uniform(260, 480)
    scale = patient.scale
    return Camera(view, axes, centre + axes[2] * distance, distance, float(width * (0.4 + 0.6 * scale)))
