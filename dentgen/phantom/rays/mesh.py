"""Ray casting against a triangle mesh, with Embree if it can be imported and a numpy grid otherwise.

The two hit the same triangles except where a ray passes within float32 rounding of an edge, so their maps differ in a
few pixels on outlines.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from dentgen.phantom.anatomy import FloatArray, IntArray
from dentgen.phantom.rays.grid import GridRayMesh

_FAR_MM = 1e37

Hits = tuple[IntArray, FloatArray, FloatArray]
"""Face (-1 if none) and barycentric u, v of every ray; u weights a face's second vertex, v its third."""


class Accelerator(Protocol):
    """Ray casting backend of ``RayMesh``; triangles are hit from both sides."""

    def __init__(self, vertices: FloatArray, faces: IntArray) -> None:
        """Index faces (F, 3) of vertices (V, 3) mm."""

    def first_hit(self, origin: FloatArray, direction: FloatArray) -> Hits:
        """See ``RayMesh.first_hit``."""

    def distance(self, origin: FloatArray, direction: FloatArray, limit_mm: float) -> FloatArray:
        """See ``RayMesh.distance``."""


def _fastest() -> type[Accelerator]:
    try:
        from dentgen.phantom.rays.embree import EmbreeRayMesh
    except ImportError:  # no embreex wheel for this platform, or not installed
        return GridRayMesh
    return EmbreeRayMesh


class RayMesh:
    """A triangle mesh that rays can be cast against.

    Attributes:
        accelerator: Backend of this process.
    """

    accelerator: ClassVar[type[Accelerator]] = _fastest()

    def __init__(self, vertices: FloatArray, faces: IntArray) -> None:
        """Index faces (F, 3) of vertices (V, 3) mm."""
        self._triangles = self.accelerator(vertices, faces)

    def first_hit(self, origin: FloatArray, direction: FloatArray) -> Hits:
        """First hits (n,) from one ``origin`` (3,) mm in directions (n, 3)."""
        return self._triangles.first_hit(origin, direction)

    def distance(self, origin: FloatArray, direction: FloatArray, limit_mm: float = _FAR_MM) -> FloatArray:
        """Distances (n,) to the first triangle from origins (n, 3) mm in unit directions (n, 3).

        ``limit_mm`` is returned where no triangle is nearer.
        """
        return self._triangles.distance(origin, direction, limit_mm)
