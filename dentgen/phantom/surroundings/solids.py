"""Tubes, discs and sheets that instruments, fingers and rubber dam are made of."""

from __future__ import annotations

import numpy as np

from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.camera import Camera
from dentgen.phantom.mesh import Part, Tissue, grid_faces

_AROUND = 18


def tube(path: FloatArray, radius: FloatArray, tissue: Tissue, kind: float) -> Part:
    """A round tube with closed ends.

    Args:
        path: (n, 3) mm, its middle line.
        radius: (n,) mm.
        tissue: Tissue of all faces.
        kind: Value of the ``height`` attribute, which carries the material.
    """
    closed = np.concatenate([path[:1], path, path[-1:]])
    width = np.concatenate([[1e-3], radius, [1e-3]])
    tangent = np.gradient(path, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    tangent = np.concatenate([tangent[:1], tangent, tangent[-1:]])
    helper = np.eye(3)[np.abs(tangent.mean(0)).argmin()]
    side = np.cross(tangent, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    over = np.cross(side, tangent)
    angle = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)[None, :, None]
    ring = closed[:, None] + width[:, None, None] * (np.cos(angle) * side[:, None] + np.sin(angle) * over[:, None])
    vertices = ring.reshape(-1, 3)
    faces = grid_faces(len(closed), _AROUND, closed=True)
    part = Part(vertices, faces, tissue, 0, {"height": np.full(len(vertices), kind)})
    return part if _looks_outwards(vertices, faces, closed) else _turned(part)


def disc(centre: FloatArray, normal: FloatArray, radius_mm: float, tissue: Tissue, kinds: tuple[float, float]) -> Part:
    """A round plate, 1.4 mm thick: ``kinds`` are the materials of its face and of rim and back."""
    normal = normal / np.linalg.norm(normal)
    side = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
    side /= np.linalg.norm(side)
    over = np.cross(normal, side)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)[:, None]
    around = np.cos(angle) * side + np.sin(angle) * over
    # face, rim and back have vertices of their own, so that their edges and materials stay sharp
    rings = [(0.0, 0.0), (0.90, 0.0), (0.90, 0.0), (1.0, 0.1), (1.0, -1.3), (0.0, -1.4)]
    grid = np.stack([centre + radius_mm * share * around + lift * normal for share, lift in rings])
    faces = grid_faces(len(rings), 40, closed=True)
    kind = np.repeat([kinds[0], kinds[0], *(kinds[1] for _ in rings[2:])], 40)
    return Part(grid.reshape(-1, 3), faces, tissue, 0, {"height": kind}, centre=centre - 0.7 * normal)


def to_world(points: FloatArray, camera: Camera) -> FloatArray:
    """Points (n, 3) of camera space, whose origin is the camera's target and whose z comes towards it, in the world."""
    world: FloatArray = camera.eye + (points - np.array([0, 0, camera.distance_mm])) @ camera.axes
    return world


def smooth_path(points: FloatArray, count: int) -> FloatArray:
    """(count, 3) points of a quadratic Bezier curve with the control points (3, 3)."""
    t = np.linspace(0, 1, count)[:, None]
    return (1 - t) ** 2 * points[0] + 2 * t * (1 - t) * points[1] + t**2 * points[2]


def _looks_outwards(vertices: FloatArray, faces: np.ndarray, path: FloatArray) -> bool:
    corner = vertices[faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    middle = np.repeat(path, _AROUND, 0)[faces].mean(1)
    return bool(((corner.mean(1) - middle) * normal).sum() > 0)


def _turned(part: Part) -> Part:
    return Part(part.vertices, part.faces[:, ::-1], part.tissue, part.fdi, part.attributes)
