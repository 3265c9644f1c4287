"""Rays against triangles, through Embree, which computes in float32. Refuses to know what the triangles are."""

from __future__ import annotations

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh

from dentgen.conditions.phantom.anatomy import FloatArray, IntArray

_FAR_MM = 1e37

Hits = tuple[IntArray, FloatArray, FloatArray]
"""Face (-1: none) and barycentric u, v of every ray."""


class RayMesh:
    """Triangles behind a ray accelerator."""

    def __init__(self, vertices: FloatArray, faces: IntArray) -> None:
        """Take over vertices (V, 3) mm and faces (F, 3)."""
        self._scene = rtcore_scene.EmbreeScene()
        self._triangles = TriangleMesh(  # embree reads them for as long as the scene lives
            self._scene, np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32)
        )

    def first_hit(self, origin: FloatArray, direction: FloatArray) -> Hits:
        """First triangle met from one ``origin`` (3,) in unit directions (n, 3)."""
        result = self._scene.run(
            np.ascontiguousarray(np.broadcast_to(origin, direction.shape), np.float32),
            np.ascontiguousarray(direction, np.float32),
            query="INTERSECT",
            output=True,
        )
        return result["primID"].astype(np.int64), result["u"], result["v"]

    def distance(self, origin: FloatArray, direction: FloatArray, limit_mm: float = _FAR_MM) -> FloatArray:
        """Distances (n,) to the first triangle from origins (n, 3); ``limit_mm`` where there is none nearer."""
        return np.asarray(
            self._scene.run(
                np.ascontiguousarray(origin, np.float32),
                np.ascontiguousarray(direction, np.float32),
                np.full(len(origin), limit_mm, np.float32),
                query="DISTANCE",
            )
        )
