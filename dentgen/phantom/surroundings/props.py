"""Probe, mirror, suction tube, finger and cotton roll before the teeth, placed for one camera."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.camera import OCCLUSAL_VIEWS, Camera
from dentgen.phantom.mesh import Part, Tissue
from dentgen.phantom.surroundings.mix import Prop
from dentgen.phantom.surroundings.solids import disc, smooth_path, to_world, tube

#: Values of the ``height`` attribute of instruments, which carries the material.
STEEL, GLASS, PLASTIC, COTTON = 0.0, 1.0, 2.0, 3.0
#: Steel and glass of what is no prop, so that props are told by what they are made of.
FITTED_STEEL, FITTED_GLASS = 4.0, 5.0

#: What each prop is made of; fingers have a tissue of their own.
MADE_OF: Final[dict[Prop, frozenset[float]]] = {
    "probe": frozenset({STEEL}), "mirror": frozenset({STEEL, GLASS}), "suction": frozenset({STEEL, PLASTIC}),
    "cotton": frozenset({COTTON}),
}  # fmt: skip


def build_prop(prop: Prop, camera: Camera, rng: np.random.Generator) -> list[Part]:
    """Build a thing between the camera and the teeth, its near end off the picture.

    Args:
        prop: What to build.
        camera: The camera; its target is at the teeth.
        rng: Source of place and posture.
    """
    return [_placed(part, camera) for part in _BUILDERS[prop](camera, rng)]


def _probe(camera: Camera, rng: np.random.Generator) -> list[Part]:
    """A sickle probe: a hooked tip that touches a tooth, a shank and a handle."""
    tip, towards = _tip(camera, rng, 0.32), _from_outside(rng)
    knee = tip + 11 * towards + [0, 0, rng.uniform(3, 8)]
    end = knee + _reach(camera) * towards + [0, 0, rng.uniform(5, 25)]
    hook = smooth_path(np.stack([tip, tip + 3 * towards + [0, 0, 6.0], knee]), 14)
    shank = np.linspace(knee, end, 12)
    path = np.concatenate([hook, shank[1:]])
    radius = np.concatenate([np.linspace(0.22, 0.9, 14), np.linspace(0.9, 3.0, 11)])
    return [tube(path, radius, Tissue.INSTRUMENT, STEEL)]


def _mirror(camera: Camera, rng: np.random.Generator) -> list[Part]:
    """A mouth mirror, its face turned halfway to the camera."""
    towards = _from_outside(rng)
    half = camera.width_mm / 2
    centre = towards * half * rng.uniform(0.35, 0.85) + [0, 0, rng.uniform(7, 14)]
    normal = np.array([*(-towards[:2] * rng.uniform(0.2, 0.9)), 1.0])
    plate = disc(centre, normal, rng.uniform(9.5, 12), Tissue.INSTRUMENT, (GLASS, STEEL))
    start = centre + 10 * towards
    handle = np.linspace(start, start + _reach(camera) * towards + [0, 0, rng.uniform(0, 20)], 10)
    return [plate, tube(handle, np.linspace(1.2, 3.2, 10), Tissue.INSTRUMENT, STEEL)]


def _suction(camera: Camera, rng: np.random.Generator) -> list[Part]:
    """A saliva ejector or a wide suction tube."""
    towards = _from_outside(rng)
    tip = towards * camera.width_mm / 2 * rng.uniform(0.15, 0.7) + [0, 0, rng.uniform(3, 9)]
    end = tip + _reach(camera) * towards + [0, 0, rng.uniform(-4, 18)]
    bend = (tip + end) / 2 + [*rng.normal(0, 8, 2), 4]
    wide = rng.random() < 0.4
    path = smooth_path(np.stack([tip, bend, end]), 24)
    width = rng.uniform(4.5, 5.5) if wide else rng.uniform(2.4, 3.4)
    radius = np.full(24, width)
    radius[:2] *= 1.0 if wide else 1.35  # the ejector's cap
    return [tube(path, radius, Tissue.INSTRUMENT, STEEL if rng.random() < 0.12 else PLASTIC)]


def _finger(camera: Camera, rng: np.random.Generator) -> list[Part]:
    """One or two fingers or gloved fingers that hold lip or cheek away."""
    towards = _from_outside(rng)
    across = np.array([-towards[1], towards[0], 0.0])
    parts = []
    for number in range(1 if rng.random() < 0.6 else 2):
        tip = towards * camera.width_mm / 2 * rng.uniform(0.45, 0.95) + [0, 0, rng.uniform(7, 14)]
        tip = tip + across * number * rng.uniform(15, 19)
        end = tip + (_reach(camera) + 20) * towards + [0, 0, rng.uniform(0, 25)]
        path = np.linspace(tip, end, 22)
        share = np.linspace(0, 1, 22)
        round_end = np.sqrt(np.clip(1 - (1 - share / 0.14).clip(0, 1) ** 2, 0.02, 1))
        knuckle = 1 + 0.10 * np.exp(-(((share - 0.45) / 0.09) ** 2))
        parts.append(tube(path, rng.uniform(6.8, 9.0) * round_end * knuckle, Tissue.FINGER, 0.0))
    return parts


def _cotton(camera: Camera, rng: np.random.Generator) -> list[Part]:
    """A cotton roll in the fold beside the teeth."""
    vertical = 1 if rng.random() < 0.5 else -1
    half = camera.width_mm / 2
    depth = 2.0 if camera.view in OCCLUSAL_VIEWS else 5.0
    middle = np.array([rng.normal(0, 0.2) * half, vertical * half * rng.uniform(0.55, 0.95), depth])
    along = np.array([1.0, rng.normal(0, 0.15), rng.normal(0, 0.2)])
    path = middle + np.linspace(-19, 19, 26)[:, None] * along - [0, 0, 1] * np.linspace(-1, 1, 26)[:, None] ** 2 * 6
    radius = rng.uniform(4.2, 5.2) * (1 + 0.03 * rng.normal(size=26))
    return [tube(path, radius, Tissue.INSTRUMENT, COTTON)]


_BUILDERS: Final[dict[Prop, Callable[[Camera, np.random.Generator], list[Part]]]] = {
    "probe": _probe, "mirror": _mirror, "suction": _suction, "finger": _finger, "cotton": _cotton,
}  # fmt: skip


def _tip(camera: Camera, rng: np.random.Generator, spread: float) -> FloatArray:
    return np.array([*(rng.normal(0, spread, 2).clip(-0.7, 0.7) * camera.width_mm / 2), rng.uniform(1.5, 5)])


def _from_outside(rng: np.random.Generator) -> FloatArray:
    """Unit direction (3,) in the picture plane, from its middle outwards; hands come from the sides and from below."""
    angle = rng.choice([rng.uniform(-0.6, 0.6), rng.uniform(np.pi - 0.6, np.pi + 0.6), rng.uniform(-2.3, -0.9)])
    return np.array([np.cos(angle), np.sin(angle), 0.0])


def _reach(camera: Camera) -> float:
    """Length with which a handle certainly leaves the picture, mm."""
    return max(60.0, 1.2 * camera.width_mm)


def _placed(part: Part, camera: Camera) -> Part:
    """Move a part from camera space, its origin at the target, into the world."""
    centre = None if part.centre is None else to_world(part.centre, camera)
    return Part(to_world(part.vertices, camera), part.faces, part.tissue, part.fdi, part.attributes, None, centre)
