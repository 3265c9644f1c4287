"""A traced scene: meshes joined for one view, with rays, ambient occlusion and curvature.

Knows geometry only; refuses to know labels, lights and colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from numpy.typing import NDArray

from dentgen.conditions.phantom.anatomy import FloatArray, IntArray
from dentgen.conditions.phantom.camera import Camera
from dentgen.conditions.phantom.mesh import ATTRIBUTES, Part, oriented_normals

_RAY_OFFSET_MM = 0.06  # embreex is float32: a smaller offset lets secondary rays hit their own triangle
_OCCLUSION_RAYS, _OCCLUSION_REACH_MM = 10, 14.0
_BURIED = 0.34


@dataclass(frozen=True, slots=True)
class Surface:
    """What rays hit: one row per ray.

    Attributes:
        hit: (n,) bool.
        tissue, fdi: (n,) uint8, 0 where nothing was hit.
        position, normal, direction: (n, 3); normals face the viewer.
        depth_mm: (n,) distance along the view axis.
        occlusion: (n,) ambient occlusion, 1 = open.
        curvature: (n,) mean curvature per mm, positive on convex surfaces.
        attributes: Interpolated vertex values by name.
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
    """Meshes of one view behind one ray accelerator."""

    def __init__(self, parts: list[Part], camera: Camera, size: int) -> None:
        """Join ``parts`` and measure occlusion and curvature where ``camera`` sees them at ``size`` pixels."""
        self.camera = camera
        self.size = size
        offsets = np.cumsum([0, *(len(part.vertices) for part in parts)])
        self.vertices = np.concatenate([part.vertices for part in parts])
        self.faces: IntArray = np.concatenate([p.faces + o for p, o in zip(parts, offsets, strict=False)])
        self.normals = np.concatenate([oriented_normals(part) for part in parts])
        self._tissue = np.concatenate([_per_face(part, part.tissue) for part in parts])
        self._fdi = np.concatenate([_per_face(part, part.fdi) for part in parts])
        self._attributes = {
            name: np.concatenate([p.attributes.get(name, np.zeros(len(p.vertices))) for p in parts])
            for name in ATTRIBUTES
        }
        self._accelerator = rtcore_scene.EmbreeScene()
        self._mesh = TriangleMesh(  # embree reads the mesh for as long as the scene lives
            self._accelerator,
            np.ascontiguousarray(self.vertices, np.float32),
            np.ascontiguousarray(self.faces, np.int32),
        )
        seen = self.faces[self._visible_faces()]
        self._occlusion = self._ambient_occlusion(seen)
        self._curvature = _mean_curvature(self.vertices, self.normals, seen)

    def trace(self, column: FloatArray, row: FloatArray) -> Surface:
        """First hits of the camera's rays through pixel coordinates."""
        direction = self.camera.rays(column, row, self.size)
        face, u, v = self._first_hit(direction)
        hit = face >= 0
        face = np.maximum(face, 0)
        corner, weight = self.faces[face], np.stack([1 - u - v, u, v], 1)

        def blend(values: FloatArray) -> FloatArray:
            if values.ndim == 1:
                return (values[corner] * weight).sum(1)
            return (values[corner] * weight[..., None]).sum(1)

        normal = blend(self.normals)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        normal[(normal * direction).sum(1) > 0] *= -1
        position = blend(self.vertices)
        return Surface(
            hit=hit,
            tissue=np.where(hit, self._tissue[face], 0).astype(np.uint8),
            fdi=np.where(hit, self._fdi[face], 0).astype(np.uint8),
            position=position,
            normal=normal,
            direction=direction,
            depth_mm=-(position - self.camera.eye) @ self.camera.axes[2],
            occlusion=blend(self._occlusion),
            curvature=blend(self._curvature),
            attributes={name: blend(values) for name, values in self._attributes.items()},
        )

    def trace_centres(self) -> Surface:
        """First hits through all pixel centres, row by row."""
        row, column = np.mgrid[0 : self.size, 0 : self.size] + 0.5
        return self.trace(column.reshape(-1), row.reshape(-1))

    def _first_hit(self, direction: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
        origin = np.broadcast_to(self.camera.eye, direction.shape)
        result = self._accelerator.run(
            np.ascontiguousarray(origin, np.float32),
            np.ascontiguousarray(direction, np.float32),
            query="INTERSECT",
            output=True,
        )
        return result["primID"].astype(np.int64), result["u"], result["v"]

    def _visible_faces(self) -> IntArray:
        row, column = (np.mgrid[0 : self.size, 0 : self.size]).reshape(2, -1)
        faces = [self._first_hit(self.camera.rays(column + shift, row + shift, self.size))[0] for shift in (0.5, 0.99)]
        seen = np.unique(np.concatenate(faces))
        return seen[seen >= 0]

    def _ambient_occlusion(self, seen: IntArray) -> FloatArray:
        """Occlusion at the vertices of seen faces; buried vertices take their free neighbours' mean."""
        index = np.unique(seen)
        normal = self.normals[index]
        helper = np.where(np.abs(normal[:, :1]) < 0.8, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
        tangent = np.cross(normal, helper)
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
        bitangent = np.cross(normal, tangent)
        origin = np.ascontiguousarray(self.vertices[index] + normal * _RAY_OFFSET_MM, np.float32)
        blocked = np.zeros(len(index))
        for ray in range(_OCCLUSION_RAYS):
            share, turn = (ray + 0.5) / _OCCLUSION_RAYS, ray * 2.399963  # golden angle
            direction = np.sqrt(share) * (tangent * np.cos(turn) + bitangent * np.sin(turn))
            direction = direction + normal * np.sqrt(1 - share)
            distance = self._accelerator.run(origin, np.ascontiguousarray(direction, np.float32), query="DISTANCE")
            blocked += np.clip(1 - distance / _OCCLUSION_REACH_MM, 0, 1) ** 0.6
        occlusion = np.ones(len(self.vertices))
        occlusion[index] = 1 - blocked / _OCCLUSION_RAYS
        return _free_buried(occlusion, index, seen)


def _per_face(part: Part, value: FloatArray | int) -> NDArray[np.uint8]:
    return np.broadcast_to(np.asarray(value, np.uint8), len(part.faces))


def _free_buried(occlusion: FloatArray, index: IntArray, seen: IntArray) -> FloatArray:
    """A vertex inside the neighbouring tissue is dark for no visible reason: it would draw a jagged margin."""
    buried = np.zeros(len(occlusion), bool)
    buried[index] = occlusion[index] < _BURIED
    for _ in range(4):
        if not buried.any():
            break
        free = (~buried[seen]).astype(float)
        total = np.bincount(seen.ravel(), np.repeat((occlusion[seen] * free).sum(1), 3), len(occlusion))
        count = np.bincount(seen.ravel(), np.repeat(free.sum(1), 3), len(occlusion))
        cured = buried & (count > 0)
        occlusion[cured] = total[cured] / count[cured]
        buried &= ~cured
    return occlusion


def _mean_curvature(vertices: FloatArray, normals: FloatArray, faces: IntArray) -> FloatArray:
    """Mean of (dn . dp) / |dp|^2 over a vertex's edges, clipped to 3 per mm and smoothed twice."""
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
