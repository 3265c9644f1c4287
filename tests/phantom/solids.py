"""Simple parts and the scenes of them."""

from __future__ import annotations

import numpy as np

from dentgen.phantom.mesh import Part, Tissue, grid_faces, join_parts
from dentgen.phantom.rays.mesh import RayMesh
from dentgen.phantom.scene import Scene
from tests.phantom.surfaces import CAMERA


def plate(depth: float, half: float, tissue: Tissue, fdi: int = 0) -> Part:
    """A square facing the camera at z = -depth, with its x as the attribute ``height``."""
    y, x = np.meshgrid(np.linspace(-half, half, 30), np.linspace(-half, half, 30), indexing="ij")
    vertices = np.stack([x, y, np.full_like(x, -depth)], -1).reshape(-1, 3)
    return Part(vertices, grid_faces(30, 30), tissue, fdi, {"height": x.reshape(-1)}, facing=np.array([0.0, 0.0, 1.0]))


def ball(radius: float, count: int = 60) -> Part:
    """A ball around the origin, without its poles on the x axis."""
    polar, turn = np.linspace(0.05, np.pi - 0.05, count)[:, None], np.linspace(0, 2 * np.pi, count, endpoint=False)
    x = np.broadcast_to(np.cos(polar), (count, count))
    points = radius * np.stack([x, np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn)], -1).reshape(-1, 3)
    return Part(points, grid_faces(count, count, closed=True), Tissue.TOOTH, 11, centre=np.zeros(3))


def scene(*parts: Part, size: int = 32) -> Scene:
    """The parts in front of ``CAMERA``."""
    mesh = join_parts(list(parts))
    return Scene(mesh, RayMesh(mesh.vertices, mesh.faces), CAMERA, size)
