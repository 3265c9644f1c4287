"""Rays against triangles: Embree where it can be imported, the numpy grid elsewhere.

Both meet the same triangles but where a ray passes within float32 rounding of an edge, so maps of the two differ in a
few pixels on outlines. Refuses to know what the triangles are.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from dentgen.phantom.anatomy import FloatArray, IntArray
from dentgen.phantom.rays.grid import GridRayMesh

_FAR_MM = 1e37

Hits = tuple[IntArray, FloatArray, FloatArray]
"""Face (-1: none) and barycentric u, v of every ray; u weighs a face's second vertex, v its third."""


class Accelerator(Protocol):
    """What finds triangles for a ``RayMesh``, from both their sides."""

    def __init__(self, vertices: FloatArray, faces: IntArray) -> None:
        """Take over vertices (V, 3) mm and faces (F, 3)."""

    def first_hit(self, origin: FloatArray, direction: FloatArray) -> Hits:
        """As ``RayMesh.first_hit``."""

    def distance(self, origin: FloatArray, direction: FloatArray, limit_mm: float) -> FloatArray:
        """As ``RayMesh.distance``."""


def _fastest() -> type[Accelerator]:
    try:
        from dentgen.phantom.rays.embree import EmbreeRayMesh
    except ImportError:  # embreex has no wheel for this platform, or was not asked for
        return GridRayMesh
    return EmbreeRayMesh


class RayMesh:
    """Triangles behind a ray accelerator.

    Attributes:
        accelerator: The one that this process uses.
    """

    accelerator: ClassVar[type[Accelerator]] = _fastest()

    def __init__(self, vertices: FloatArray, faces: IntArray) -> None:
        """Take over vertices (V, 3) mm and faces (F, 3)."""
        self._triangles = self.accelerator(vertices, faces)

    def first_hit(self, origin: FloatArray, direction: FloatArray) -> Hits:
        """First triangle met from one ``origin`` (3,) in unit directions (n, 3)."""
        return self._triangles.first_hit(origin, direction)

    def distance(self, origin: FloatArray, direction: FloatArray, limit_mm: float = _FAR_MM) -> FloatArray:
        """Distances (n,) to the first triangle from origins (n, 3); ``limit_mm`` where there is none nearer."""
        return self._triangles.distance(origin, direction, limit_mm)
