"""Ray casting with Embree, which computes in float32."""

from __future__ import annotations

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh

from dentgen.phantom.anatomy import FloatArray, IntArray


class EmbreeRayMesh:
    """Triangles in an Embree scene; an ``Accelerator``."""

    def __init__(self, vertices: FloatArray, faces: IntArray) -> None:
        """Build the scene from vertices (V, 3) mm and faces (F, 3)."""
        self._scene = rtcore_scene.EmbreeScene()
        self._triangles = TriangleMesh(  # Embree reads the buffers while the scene lives
            self._scene, np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32)
        )

    def first_hit(self, origin: FloatArray, direction: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
        """See ``RayMesh.first_hit``."""
        result = self._scene.run(
            np.ascontiguousarray(np.broadcast_to(origin, direction.shape), np.float32),
            np.ascontiguousarray(direction, np.float32),
            query="INTERSECT",
            output=True,
        )
        return result["primID"].astype(np.int64), result["u"], result["v"]

    def distance(self, origin: FloatArray, direction: FloatArray, limit_mm: float) -> FloatArray:
        """See ``RayMesh.distance``."""
        return np.asarray(
            self._scene.run(
                np.ascontiguousarray(origin, np.float32),
                np.ascontiguousarray(direction, np.float32),
                np.full(len(origin), limit_mm, np.float32),
                query="DISTANCE",
            )
        )
