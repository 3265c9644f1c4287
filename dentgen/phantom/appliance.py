"""Meshes of fixed orthodontic appliances: twin brackets, the wire through their slots, elastic ligatures.

A bracket sits halfway up the facial axis of a posed crown, facing outward. Sizes in mm were chosen by eye.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.interpolate import CubicSpline

from dentgen.phantom.anatomy import FloatArray, IntArray
from dentgen.phantom.arch import DentalArch, Slot
from dentgen.phantom.mesh import Part, Tissue, grid_faces
from dentgen.phantom.teeth import COLUMNS, ROOT_SHARE, WALL_RINGS

#: Values of the ``height`` attribute, which carries the material of an appliance's surface.
METAL, ELASTIC = 0.0, 1.0
_FACIAL_COLUMN = COLUMNS // 4
_FACIAL_RING = round((ROOT_SHARE + 0.52) / (1 + ROOT_SHARE) * (WALL_RINGS - 1))
_WIRE_RADIUS_MM, _WIRE_OUTWARD_MM, _WIRE_STEP_MM = 0.24, 0.95, 0.5
#: Outline of a bracket wing, (occlusal, outward) mm: pad, tie wings and the slot between them.
_WING = np.array(
    [(-1.6, -0.5), (-1.5, 0.45), (-1.75, 0.8), (-1.3, 1.35), (-0.32, 1.4), (-0.3, 0.7),
     (0.3, 0.7), (0.32, 1.4), (1.3, 1.35), (1.75, 0.8), (1.5, 0.45), (1.6, -0.5)]
)  # fmt: skip
_PAD = np.array([(-1.5, -0.6), (-1.5, 0.35), (1.5, 0.35), (1.5, -0.6)])


def build_appliance(dental_arch: DentalArch) -> tuple[Part, ...]:
    """Build brackets, ligatures and wire of one arch; teeth behind the first molars carry none."""
    bracketed = [slot for slot in dental_arch.slots if slot.vertices is not None and slot.form <= 6]
    frames = [_facial_frame(slot, dental_arch.rootwards) for slot in bracketed]
    brackets = [part for slot, frame in zip(bracketed, frames, strict=True) for part in _bracket(slot, frame)]
    return (*brackets, *_wire([point + _WIRE_OUTWARD_MM * axes[2] for point, axes in frames]))


def _facial_frame(slot: Slot, rootwards: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Point on the crown's face, and axes (3, 3) along the arch, occlusal and outward."""
    assert slot.vertices is not None
    grid = slot.vertices[: WALL_RINGS * COLUMNS].reshape(WALL_RINGS, COLUMNS, 3)
    along = grid[_FACIAL_RING, _FACIAL_COLUMN - 3] - grid[_FACIAL_RING, _FACIAL_COLUMN + 3]
    upwards = grid[_FACIAL_RING + 3, _FACIAL_COLUMN] - grid[_FACIAL_RING - 3, _FACIAL_COLUMN]
    along, upwards = along / np.linalg.norm(along), upwards / np.linalg.norm(upwards)
    outward = np.cross(along, upwards)
    outward /= np.linalg.norm(outward)
    point = grid[_FACIAL_RING, _FACIAL_COLUMN]
    if (point - grid[_FACIAL_RING].mean(0)) @ outward < 0:  # upper and lower frames differ in handedness
        outward = -outward
    return point, np.stack([along, np.cross(outward, along), outward])


def _bracket(slot: Slot, frame: tuple[FloatArray, FloatArray]) -> list[Part]:
    """Two wings on a pad with a ligature around them, narrower on narrow teeth."""
    width = 0.42 * min(slot.size.mesiodistal, 7.6)
    wing = 0.2 * width
    solids = [_prism(_PAD, 0.0, width / 2), *(_prism(_WING, side * (width / 2 - wing), wing) for side in (-1, 1))]
    parts = [_part(_placed(points, frame), faces, METAL) for points, faces in solids]
    ring, faces = _ring(width / 2 + 0.1, 1.55)
    return [*parts, _part(_placed(ring, frame), faces, ELASTIC)]


def _placed(points: FloatArray, frame: tuple[FloatArray, FloatArray]) -> FloatArray:
    return frame[0] + points @ frame[1]


def _part(vertices: FloatArray, faces: IntArray, material: float) -> Part:
    attributes = {"height": np.full(len(vertices), material)}
    return Part(vertices, faces, Tissue.APPLIANCE, 0, attributes, centre=vertices.mean(0))


def _prism(outline: FloatArray, middle: float, half: float) -> tuple[FloatArray, IntArray]:
    """Extrude an outline (occlusal, outward) along the arch; facets share no vertices, so edges stay sharp."""
    ends = [np.column_stack([np.full(len(outline), middle + side * half), outline]) for side in (-1, 1)]
    closed = np.arange(len(outline) + 1) % len(outline)
    quads = [np.stack([ends[0][a], ends[0][b], ends[1][b], ends[1][a]]) for a, b in pairwise(closed)]
    caps = [np.concatenate([end, end.mean(0, keepdims=True)]) for end in ends]
    faces: list[list[int]] = []
    for quad in range(len(quads)):
        faces += [[4 * quad, 4 * quad + 1, 4 * quad + 2], [4 * quad, 4 * quad + 2, 4 * quad + 3]]
    start = 4 * len(quads)
    for turn in (1, -1):
        hub = start + len(outline)
        faces += [[start + int(a), start + int(b), hub][::turn] for a, b in pairwise(closed[::-1])]
        start = hub + 1
    return np.concatenate([*quads, *caps]), np.array(faces)


def _ring(half_width: float, half_height: float) -> tuple[FloatArray, IntArray]:
    """A squared torus around a bracket's wings, under their tips."""
    around, tube = np.linspace(0, 2 * np.pi, 20, endpoint=False), np.linspace(0, 2 * np.pi, 7)
    radius = 0.3 * np.cos(tube)
    along = (half_width + radius[:, None]) * np.sign(np.cos(around)) * np.abs(np.cos(around)) ** 0.6
    occlusal = (half_height - 0.25 + radius[:, None]) * np.sign(np.sin(around)) * np.abs(np.sin(around)) ** 0.6
    outward = np.broadcast_to(1.0 + 0.3 * np.sin(tube)[:, None], along.shape)
    return np.stack([along, occlusal, outward], -1).reshape(-1, 3), grid_faces(len(tube), len(around), closed=True)


def _wire(points: list[FloatArray]) -> tuple[Part, ...]:
    """A tube through all bracket slots; empty for fewer than two."""
    if len(points) < 2:
        return ()
    knots = np.concatenate([[0.0], np.cumsum([np.linalg.norm(b - a) for a, b in pairwise(points)])])
    path = CubicSpline(knots, np.stack(points))
    s = np.linspace(0, knots[-1], max(8, int(knots[-1] / _WIRE_STEP_MM)))
    tangent = path(s, 1)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.cross(tangent, [0.0, 1.0, 0.0])
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    over = np.cross(side, tangent)
    angle = np.linspace(0, 2 * np.pi, 9)[:, None, None]
    tube = path(s) + _WIRE_RADIUS_MM * (np.cos(angle) * side + np.sin(angle) * over)
    vertices = tube.reshape(-1, 3)
    faces = grid_faces(9, len(s))
    corner = vertices[faces[0]]
    looks_out = np.cross(corner[1] - corner[0], corner[2] - corner[0]) @ (corner.mean(0) - path(s[0]))
    attributes = {"height": np.full(len(vertices), METAL)}
    return (Part(vertices, faces if looks_out > 0 else faces[:, ::-1], Tissue.APPLIANCE, 0, attributes),)
