"""The mirror of an occlusal photograph: its edge, and beyond it lips and front teeth that the camera sees themselves.

A scene shows the world behind the mirror, where its camera stands too. What is before the mirror is the real mouth,
which is the same one reflected in the mirror's plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.camera import Camera
from dentgen.phantom.mesh import Part, Tissue, grid_faces
from dentgen.phantom.scene import Surface
from dentgen.phantom.surroundings.props import FITTED_GLASS, FITTED_STEEL

#: What the camera sees before the mirror too: the rest of the mouth is behind the lips there.
_BEFORE: Final = (Tissue.TOOTH, Tissue.GUM, Tissue.APPLIANCE)
_SPOKES, _RINGS = 120, 24
#: Half width and height of the mirror as shares of the picture's, its shift, and the exponent of its superellipse.
_HALF_WIDTH, _HALF_HEIGHT, _SHIFT, _EXPONENT = (0.72, 1.05), (0.74, 1.1), 0.12, 3.4
#: Widths of the glass's bevel and of the steel behind it, mm.
_BEVEL_MM, _STEEL_MM = 0.6, 1.4
#: Distance of the nearest cusp from the glass, mm.
_GAP_MM: Final = (1.0, 4.0)
#: How far from the biting plane the photographer looks at the mirror, degrees, and the least angle between that and
#: the way on to the teeth: a flatter mirror would show a sliver.
_PITCH_DEG, _LEAST_TURN_DEG = (-6, 22), 60
#: Radius of the lips' outer edge in half widths of the picture, beyond its corners.
_OUTER: Final = 2.3


@dataclass(frozen=True, slots=True)
class Plane:
    """The mirror's plane: unit normal (3,) towards the mouth behind it, and its offset, mm."""

    normal: FloatArray
    offset_mm: float

    def reflected(self, points: FloatArray) -> FloatArray:
        """Points (n, 3) on the plane's other side."""
        return points - 2 * (points @ self.normal - self.offset_mm)[:, None] * self.normal

    def turned(self, direction: FloatArray) -> FloatArray:
        """Direction (3,) as it looks in the mirror."""
        return direction - 2 * (direction @ self.normal) * self.normal

    def met(self, eye: FloatArray, directions: FloatArray) -> FloatArray:
        """Points (n, 3) at which rays from an eye (3,) in directions (n, 3) meet the plane."""
        distance = (self.offset_mm - eye @ self.normal) / (directions @ self.normal)
        return eye + distance[:, None] * directions


def sample_plane(mouth: Sequence[Part], camera: Camera, rng: np.random.Generator) -> Plane:
    """Draw the plane halfway between a scene's camera and the photographer's own, close to the nearest cusp.

    Args:
        mouth: The jaw that the mirror shows, with its teeth.
        camera: The camera behind the mirror, which the scene is traced from.
        rng: Source of the photographer's place.
    """
    back = camera.axes[2]
    elevation = float(np.rad2deg(np.arcsin(abs(back[1]))))
    pitch = np.deg2rad(min(rng.uniform(*_PITCH_DEG), elevation - _LEAST_TURN_DEG)) * np.sign(back[1])
    own = np.array([0.0, np.sin(pitch), np.cos(pitch)])
    normal = (own - back) / np.linalg.norm(own - back)
    nearest = min(float((part.vertices @ normal).min()) for part in mouth if part.fdi)
    return Plane(normal, nearest - float(rng.uniform(*_GAP_MM)))


def build_occlusal_mirror(mouth: Sequence[Part], camera: Camera, plane: Plane, rng: np.random.Generator) -> list[Part]:
    """Build what frames the view into a mirror.

    Args:
        mouth: As for ``sample_plane``, like the camera.
        camera: The camera.
        plane: The mirror's plane.
        rng: Source of the mirror's outline and of the lips' folds.

    Returns:
        The mirror's rim, the sheet of lips around it, and teeth and gum before it.
    """
    outline = _outline(rng)
    direct = [_before(part, plane) for part in mouth if np.isin(part.tissue, _BEFORE).any()]
    return [_rim(plane, camera, outline), _lips(plane, camera, outline, rng), *direct]


def behind_mirror(surface: Surface, plane: Plane) -> Surface:
    """The same traced points, with those of the mouth itself where the mirror shows them: both have the same paint."""
    before = np.isin(surface.tissue, _BEFORE) & (surface.position @ plane.normal < plane.offset_mm)
    position = np.where(before[:, None], plane.reflected(surface.position), surface.position)
    return replace(surface, position=position)


def _outline(rng: np.random.Generator) -> FloatArray:
    """Outline (spokes, 2) of the mirror in half widths of the picture."""
    angle = np.linspace(0, 2 * np.pi, _SPOKES)
    cos, sin = np.cos(angle), np.sin(angle)
    half = np.array([rng.uniform(*_HALF_WIDTH), rng.uniform(*_HALF_HEIGHT)])
    narrower = 1 - rng.uniform(0, 0.22) * sin  # one end is narrower than the other
    radius = (np.abs(cos / (half[0] * narrower)) ** _EXPONENT + np.abs(sin / half[1]) ** _EXPONENT) ** (-1 / _EXPONENT)
    return np.stack([radius * cos, radius * sin], -1) + rng.normal(0, _SHIFT, 2)


def _rim(plane: Plane, camera: Camera, outline: FloatArray) -> Part:
    """The glass's bevelled edge and the steel around it, each with vertices of its own: their border is sharp."""
    widths = np.array([0, _BEVEL_MM, _BEVEL_MM, _BEVEL_MM + _STEEL_MM])
    vertices = _on_plane(plane, camera, _around(outline, widths / (camera.width_mm / 2)))
    kind = np.repeat([FITTED_GLASS, FITTED_GLASS, FITTED_STEEL, FITTED_STEEL], _SPOKES)
    faces = grid_faces(len(widths), _SPOKES)
    return Part(vertices, faces, Tissue.INSTRUMENT, 0, {"height": kind}, facing=-plane.normal)


def _lips(plane: Plane, camera: Camera, outline: FloatArray, rng: np.random.Generator) -> Part:
    """A folded sheet from the rim outwards, which rises to the camera."""
    share = np.linspace(0, 1, _RINGS)
    start = (_BEVEL_MM + _STEEL_MM) / (camera.width_mm / 2)
    angle = np.linspace(0, 2 * np.pi, _SPOKES)
    folds = sum(
        rng.normal(0, 1.1 / k**0.5) * np.sin(k * angle + 12 * share[:, None] * rng.normal() + rng.uniform(0, 6))
        for k in range(3, 18)
    )
    rise = (6 * np.sqrt(share)[:, None] + folds * np.clip(3 * share, 0, 1)[:, None]).reshape(-1)
    edge, farther = _around(outline, np.array([start])), share[:, None, None] ** 1.4
    outer = _OUTER * np.stack([np.cos(angle), np.sin(angle)], -1)
    flat = _on_plane(plane, camera, edge + farther * (outer - edge))
    vertices = flat - np.clip(rise, 0, None)[:, None] * plane.normal
    attributes = {
        "margin_mm": np.repeat(share, _SPOKES),
        "height": np.broadcast_to(np.abs(np.sin(angle)), (_RINGS, _SPOKES)).reshape(-1),
    }
    return Part(vertices, grid_faces(_RINGS, _SPOKES), Tissue.LIP, 0, attributes, facing=-plane.normal)


def _around(outline: FloatArray, farther: FloatArray) -> FloatArray:
    """Rings (n, spokes, 2) around an outline (spokes, 2), farther from its middle by shares (n,)."""
    middle = outline.mean(0)
    return middle + (1 + farther[:, None, None]) * (outline - middle)


def _on_plane(plane: Plane, camera: Camera, rings: FloatArray) -> FloatArray:
    """Points (rings * spokes, 3) of the plane behind points (rings, spokes, 2) of the picture, in its half widths."""
    half = camera.width_mm / 2 / camera.distance_mm
    flat = rings.reshape(-1, 2)
    directions = np.concatenate([flat * half, -np.ones((len(flat), 1))], 1) @ camera.axes
    return plane.met(camera.eye, directions)


def _before(part: Part, plane: Plane) -> Part:
    """A part of the mouth itself: the reflection of what is behind the mirror."""
    kept = np.isin(np.broadcast_to(np.asarray(part.tissue), len(part.faces)), _BEFORE)
    tissue = part.tissue if isinstance(part.tissue, Tissue) else part.tissue[kept]
    return replace(
        part,
        vertices=plane.reflected(part.vertices),
        faces=part.faces[kept][:, ::-1],
        tissue=tissue,
        facing=None if part.facing is None else plane.turned(part.facing),
        centre=None if part.centre is None else plane.reflected(part.centre[None])[0],
    )
