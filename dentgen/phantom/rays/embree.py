"""Rays against triangles through Embree, which computes in float32. Refuses to know what the triangles are."""

from __future__ import annotations

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh

from dentgen.phantom.anatomy import FloatArray, IntArray


class EmbreeRayMesh:
    """Triangles in a scene of Embree's."""

    def __init__(self, vertices: FloatArray, faces: IntArray) -> None:
        """Hand over vertices (V, 3) mm and faces (F, 3)."""
        self._scene = rtcore_scene.EmbreeScene()
        self._triangles = TriangleMesh(  # embree reads them for as long as the scene lives
            self._scene, np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32)
        )

    def first_hit(self, origin: FloatArray, direction: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
        """First triangle met from one origin; see ``rays``."""
        result = self._scene.run(
            np.ascontiguousarray(np.broadcast_to(origin, direction.shape), np.float32),
            np.ascontiguousarray(direction, np.float32),
            query="INTERSECT",
            output=True,
        )
        return result["primID"].astype(np.int64), result["u"], result["v"]

    def distance(self, origin: FloatArray, direction: FloatArray, limit_mm: float) -> FloatArray:
        """Distances to the first triangle; see ``rays``."""
        return np.asarray(
            self._scene.run(
                np.ascontiguousarray(origin, np.float32),
                np.ascontiguousarray(direction, np.float32),
                np.full(len(origin), limit_mm, np.float32),
                query="DISTANCE",
            )
        )
