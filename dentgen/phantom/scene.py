"""A traced scene: one mesh in front of one camera, with ambient occlusion and curvature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dentgen.phantom.anatomy import FloatArray, IntArray
from dentgen.phantom.camera import Camera
from dentgen.phantom.mesh import Mesh
from dentgen.phantom.rays.mesh import Hits, RayMesh

_RAY_OFFSET_MM = 0.06  # Embree is float32: with a smaller offset secondary rays hit their own triangle
_OCCLUSION_RAYS, _OCCLUSION_REACH_MM = 10, 14.0
_BURIED = 0.34  # occlusion below which a vertex counts as inside the neighbouring tissue; chosen by eye


@dataclass(frozen=True, slots=True)
class Surface:
    """First hits of n rays, one row per ray.

    Attributes:
        hit: (n,) whether the ray hit anything.
        tissue, fdi: (n,) uint8, 0 where nothing was hit.
        position: (n, 3) mm.
        normal: (n, 3) unit vectors facing the viewer.
        direction: (n, 3) unit directions of the rays.
        depth_mm: (n,) distance along the view axis; of no meaning where nothing was hit.
        occlusion: (n,) ambient occlusion, 0 occluded to 1 open.
        curvature: (n,) mean curvature per mm, positive on convex surfaces.
        attributes: (n,) interpolated vertex values by name in ``ATTRIBUTES``.
    """

    hit: NDArray[np.bool_]
    tissue: NDArray[np.uint8]
    fdi: NDArray[np.uint8]
    position: FloatArray
    normal: FloatArray
    direction: FloatArray
    depth_mm: FloatArray
    occlusion: FloatArray
    curvature: FloatArray
    attributes: dict[str, FloatArray]


class Scene:
    """A mesh seen by one camera."""

    def __init__(
        self, mesh: Mesh, rays: RayMesh, camera: Camera, size: int, visible: NDArray[np.bool_] | None = None
    ) -> None:
        """Trace the pixel centres, and compute occlusion and curvature of the visible faces.

        Args:
            mesh: The mesh.
            rays: Ray structure of the same mesh.
            camera: The camera.
            size: Edge of the square picture, pixels.
            visible: (H, W) part of the picture that shows the scene; nothing is hit outside. None for all of it.
        """
        self.mesh = mesh
        self.camera = camera
        self.size = size
        self._rays = rays
        self._centre_directions = self._pixel_directions(0.5)
        self._visible = visible
        self._centre_hits = self._first_hit(self._centre_directions)
        seen = mesh.faces[self._visible_faces()]
        self._occlusion = self._ambient_occlusion(seen)
        self._curvature = _mean_curvature(mesh.vertices, mesh.normals, seen)

    def trace(self, column: FloatArray, row: FloatArray) -> Surface:
        """First hits through pixel coordinates (n,), 0..size with pixel centres at .5."""
        direction = self.camera.rays(column, row, self.size)
        face, u, v = self._rays.first_hit(self.camera.eye, direction)
        if self._visible is not None:
            last = self.size - 1
            at = np.clip(row.astype(int), 0, last), np.clip(column.astype(int), 0, last)
            face = np.where(self._visible[at], face, -1)
        return self._surface(direction, (face, u, v))

    def trace_centres(self) -> Surface:
        """First hits through all pixel centres, row by row."""
        return self._surface(self._centre_directions, self._centre_hits)

    def _surface(self, direction: FloatArray, hits: Hits) -> Surface:
        face, u, v = hits
        hit = face >= 0
        face = np.maximum(face, 0)
        mesh = self.mesh
        corner, weight = mesh.faces[face], np.stack([1 - u - v, u, v], 1)

        def blend(values: FloatArray) -> FloatArray:
            if values.ndim == 1:
                return (values[corner] * weight).sum(1)
            return (values[corner] * weight[..., None]).sum(1)

        normal = blend(mesh.normals)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        normal[(normal * direction).sum(1) > 0] *= -1
        position = blend(mesh.vertices)
        return Surface(
            hit=hit,
            tissue=np.where(hit, mesh.tissue[face], 0).astype(np.uint8),
            fdi=np.where(hit, mesh.fdi[face], 0).astype(np.uint8),
            position=position,
            normal=normal,
            direction=direction,
            depth_mm=-(position - self.camera.eye) @ self.camera.axes[2],
            occlusion=blend(self._occlusion),
            curvature=blend(self._curvature),
            attributes={name: blend(values) for name, values in mesh.attributes.items()},
        )

    def _first_hit(self, directions: FloatArray) -> Hits:
        """First hits of one ray per pixel, row by row."""
        face, u, v = self._rays.first_hit(self.camera.eye, directions)
        return (face if self._visible is None else np.where(self._visible.ravel(), face, -1)), u, v

    def _pixel_directions(self, shift: float) -> FloatArray:
        """Directions through every pixel at ``shift`` of a pixel right of and below its upper left corner."""
        row, column = (np.mgrid[0 : self.size, 0 : self.size] + shift).reshape(2, -1)
        return self.camera.rays(column, row, self.size)

    def _visible_faces(self) -> IntArray:
        """Faces behind pixel centres or corners; occlusion and curvature are computed on no others."""
        corner_hits = self._first_hit(self._pixel_directions(0.99))
        seen = np.unique(np.concatenate([self._centre_hits[0], corner_hits[0]]))
        return seen[seen >= 0]

    def _ambient_occlusion(self, seen: IntArray) -> FloatArray:
        """Occlusion at the vertices of visible faces, 1 at all others."""
        index = np.unique(seen)
        normal = self.mesh.normals[index]
        helper = np.where(np.abs(normal[:, :1]) < 0.8, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
        tangent = np.cross(normal, helper)
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
        bitangent = np.cross(normal, tangent)
        origin = self.mesh.vertices[index] + normal * _RAY_OFFSET_MM
        blocked = np.zeros(len(index))
        for ray in range(_OCCLUSION_RAYS):
            share, turn = (ray + 0.5) / _OCCLUSION_RAYS, ray * 2.399963  # golden angle
            direction = np.sqrt(share) * (tangent * np.cos(turn) + bitangent * np.sin(turn))
            direction = direction + normal * np.sqrt(1 - share)
            # the extra millimetre keeps float32 rounding of misses out of reach
            distance = self._rays.distance(origin, direction, _OCCLUSION_REACH_MM + 1)
            blocked += np.clip(1 - distance / _OCCLUSION_REACH_MM, 0, 1) ** 0.6
        occlusion = np.ones(len(self.mesh.vertices))
        occlusion[index] = 1 - blocked / _OCCLUSION_RAYS
        return _free_buried(occlusion, index, seen)


def _free_buried(occlusion: FloatArray, index: IntArray, seen: IntArray) -> FloatArray:
    """Replace vertices inside the neighbouring tissue by their free neighbours' mean, or margins would be jagged."""
    buried = np.zeros(len(occlusion), bool)
    buried[index] = occlusion[index] < _BURIED
    for _ in range(4):
        if not buried.any():
            break
        free = (~buried[seen]).astype(float)
        total = np.bincount(seen.ravel(), np.repeat((occlusion[seen] * free).sum(1), 3), len(occlusion))
        count = np.bincount(seen.ravel(), np.repeat(free.sum(1), 3), len(occlusion))
        freed = buried & (count > 0)
        occlusion[freed] = total[freed] / count[freed]
        buried &= ~freed
    return occlusion


def _mean_curvature(vertices: FloatArray, normals: FloatArray, faces: IntArray) -> FloatArray:
    """Mean of (dn . dp) / |dp|^2 over the edges of every vertex (V,), clipped to +-3 per mm and smoothed twice."""
    count = len(vertices)
    total, edges = np.zeros(count), np.zeros(count)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        i, j = faces[:, a], faces[:, b]
        edge = vertices[j] - vertices[i]
        bend = ((normals[j] - normals[i]) * edge).sum(1) / np.maximum((edge**2).sum(1), 1e-8)
        for end in (i, j):
            total += np.bincount(end, bend, count)
            edges += np.bincount(end, minlength=count)
    curvature = np.clip(total / np.maximum(edges, 1), -3, 3)
    uses = np.maximum(np.bincount(faces.ravel(), minlength=count), 1)
    for _ in range(2):
        mean = np.bincount(faces.ravel(), np.repeat(curvature[faces].mean(1), 3), count) / uses
        curvature = 0.35 * curvature + 0.65 * mean
    return curvature
