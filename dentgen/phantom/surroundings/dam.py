"""Rubber dam: a stretched sheet out of which a few teeth stand, and the clamp that holds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.arch import DentalArch, Slot
from dentgen.phantom.camera import Camera
from dentgen.phantom.mesh import Part, Tissue, grid_faces
from dentgen.phantom.surroundings.props import FITTED_STEEL
from dentgen.phantom.surroundings.solids import smooth_path, tube

_REACH_MM, _LINES = 75.0, 90
#: Share of the crown's height at which the sheet grips a tooth.
_GRIP_SHARE = 0.3
#: Least form of a tooth that takes a clamp: front teeth are held by cord.
_FIRST_CLAMPED: Final = 4
#: Radius of a clamp's jaws, wings and bow, mm, and points along each.
_JAW_MM, _WING_MM, _BOW_MM, _POINTS = 0.7, 1.0, 0.9, 16


def isolated_teeth(arch: DentalArch, camera: Camera, rng: np.random.Generator) -> list[Slot]:
    """One to six neighbours around the middle of the picture."""
    target = camera.eye - camera.axes[2] * camera.distance_mm
    standing = [slot for slot in arch.slots if slot.vertices is not None]
    distances = [
        float(np.linalg.norm(slot.vertices.mean(0) - target)) for slot in standing if slot.vertices is not None
    ]
    middle = int(np.argmin(distances))
    before, after = int(rng.integers(0, 3)), int(rng.integers(0, 4))
    return standing[max(0, middle - before) : middle + after + 1]


def build_dam(arch: DentalArch, teeth: Sequence[Slot], rng: np.random.Generator) -> Part:
    """Build the sheet around ``teeth``: it clings to their necks and bulges between them.

    Args:
        arch: Their arch.
        teeth: The isolated teeth, in order.
        rng: Source of folds and tension.
    """
    up = -arch.rootwards
    necks = np.stack([_neck(slot, arch.rootwards) for slot in teeth])
    middle = necks.mean(0)
    line = np.linspace(-1, 1, _LINES)
    line = _REACH_MM * np.sign(line) * np.abs(line) ** 1.6  # finer lines near the teeth
    z, x = np.meshgrid(middle[2] + line, middle[0] + line, indexing="ij")
    distance = np.sqrt((x[..., None] - necks[:, 0]) ** 2 + (z[..., None] - necks[:, 2]) ** 2)
    weight = np.exp(-distance / 5.0) + 1e-6
    height = (weight * (necks @ up)).sum(-1) / weight.sum(-1)
    away = np.clip(distance.min(-1) - 4, 0, None)
    height = height + rng.uniform(-0.02, 0.12) * away + _folds(x, z, away, rng)
    vertices = np.stack([x, up[1] * height, z], -1).reshape(-1, 3)
    return Part(vertices, grid_faces(_LINES, _LINES), Tissue.DAM, 0, {}, facing=up)


def build_clamp(arch: DentalArch, teeth: Sequence[Slot], rng: np.random.Generator) -> list[Part]:
    """Build a clamp on the last of ``teeth``, its bow behind the crown; nothing where all of them are front teeth.

    Args:
        arch: Their arch.
        teeth: The isolated teeth.
        rng: Source of the clamp's shape.
    """
    backmost = max(teeth, key=lambda slot: abs(slot.s))
    if backmost.form < _FIRST_CLAMPED:
        return []
    _, tangent, normal = (line[0] for line in arch.curve.frame(np.array([backmost.s])))
    distal, up = tangent * backmost.side, -arch.rootwards
    neck = _neck(backmost, arch.rootwards) + 0.6 * up
    half, width = backmost.size.mesiodistal / 2, backmost.size.buccolingual / 2
    behind = distal * (half + rng.uniform(3, 6)) + up * backmost.size.height * rng.uniform(0.6, 1.1)
    parts, ends = [], []
    for outward in (normal, -normal):
        jaw = neck + outward * (width + 0.3)
        grip = np.stack([jaw - 0.7 * half * distal, jaw + 1.2 * outward, jaw + 0.8 * half * distal])
        wing = np.stack([jaw + 0.5 * outward, jaw + 2.0 * outward + 0.5 * up, jaw + rng.uniform(3, 5) * outward])
        parts += [_steel(grip, _JAW_MM), _steel(wing, _WING_MM)]
        ends.append(grip[-1])
    return [*parts, _steel(np.stack([ends[0], 2 * (neck + behind) - (ends[0] + ends[1]) / 2, ends[1]]), _BOW_MM)]


def _steel(points: FloatArray, radius_mm: float) -> Part:
    return tube(smooth_path(points, _POINTS), np.full(_POINTS, radius_mm), Tissue.INSTRUMENT, FITTED_STEEL)


def _neck(slot: Slot, rootwards: FloatArray) -> FloatArray:
    """Point (3,) on a tooth's axis at which the sheet grips it."""
    assert slot.vertices is not None
    tip = (slot.vertices @ rootwards).min()
    neck = slot.vertices.mean(0)
    neck = neck - rootwards * (neck @ rootwards)
    return neck + rootwards * (tip + (1 - _GRIP_SHARE) * slot.size.height)


def _folds(
    x: NDArray[np.float64], z: NDArray[np.float64], away: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    waves = sum(
        rng.normal(0, 0.5) * np.sin(rng.normal(0, 0.12) * x + rng.normal(0, 0.12) * z + rng.uniform(0, 6))
        for _ in range(6)
    )
    return waves * np.clip(away / 20, 0, 1)
