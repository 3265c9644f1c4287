"""A scan's mesh with the FDI number of every triangle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dentgen.errors import ConditionError

Jaw = Literal["upper", "lower"]


@dataclass(frozen=True, slots=True, eq=False)
class ScanMesh:
    """A triangle mesh in the file's own coordinates.

    Attributes:
        vertices: (V, 3) float64.
        faces: (F, 3) vertex indices.
        labels: (F,) uint8 FDI numbers, 0 for gum; None if the file names none.
        jaw: Jaw that the file names, None for both or none named.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    labels: NDArray[np.uint8] | None
    jaw: Jaw | None


def merge_vertices(mesh: ScanMesh) -> ScanMesh:
    """The same triangles with one vertex for each place: where none is shared, as in STL, nothing would be curved."""
    order = np.lexsort(mesh.vertices.T)
    places = mesh.vertices[order]
    is_new = np.concatenate([[True], (places[1:] != places[:-1]).any(1)])
    where = np.empty(len(order), np.int64)
    where[order] = np.cumsum(is_new) - 1
    return replace(mesh, vertices=places[is_new], faces=where[mesh.faces])


def checked_arrays(
    place: str, vertices: NDArray[np.float64], faces: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The same arrays, if they are a mesh.

    Args:
        place: Where they come from, for messages.
        vertices: (V, 3) float64.
        faces: (F, 3) int64 vertex indices.

    Raises:
        ConditionError: If shapes, coordinates or indices are no mesh's.
    """
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        found = f"vertices {vertices.shape} and triangles {faces.shape}"
        raise ConditionError(place, found, "three coordinates a vertex and three vertices a triangle")
    if not np.isfinite(vertices).all() or (np.abs(vertices) > 1e6).any():
        raise ConditionError(place, "coordinates that are not finite, or beyond a million", "a jaw")
    if len(faces) and not (faces.min() >= 0 and faces.max() < len(vertices)):
        raise ConditionError(place, f"a triangle of vertex {faces.max()}", f"vertices 0 to {len(vertices) - 1}")
    return vertices, faces
