"""Triangle meshes of anatomical parts, their tissue ids and per-vertex attributes, and joining parts into one mesh."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.phantom.anatomy import FloatArray, IntArray


class Tissue(IntEnum):
    """Tissue of a surface, from which ``seg`` classes are derived."""

    NONE = 0
    GUM = 1
    TOOTH = 2
    PALATE = 3
    TONGUE = 4
    LIP = 5
    MUCOSA = 6
    APPLIANCE = 7
    SKIN = 8
    FINGER = 9
    INSTRUMENT = 10
    DAM = 11
    THROAT = 12
    GROUND = 13


#: Per-vertex values used for colouring. ``margin_mm``: distance rootwards from the gum margin (lips: share of the way
#: outwards); ``height``: share of crown height (palate: nearness to the midline; lips: steepness; appliances: 1 on
#: elastic, 0 on metal); ``fissure``: 1 in a groove; ``buccal``: 1 on the cheek side; ``mesial``, ``outward``: place on
#: a crown in half widths and depths; ``edge``: 1 on the biting edge of a front tooth; ``broken``: 1 where it broke.
ATTRIBUTES: Final = ("margin_mm", "height", "fissure", "buccal", "mesial", "outward", "edge", "broken")


@dataclass(frozen=True, slots=True)
class Part:
    """One mesh of the mouth.

    Attributes:
        vertices: (V, 3) mm.
        faces: (F, 3) vertex indices.
        tissue: One tissue, or one per face.
        fdi: FDI number of a tooth, 0 otherwise.
        attributes: (V,) values by name in ``ATTRIBUTES``; missing ones are 0.
        facing: Direction (3,) with which most normals must agree; None keeps the winding.
        centre: Point (3,) from which normals must point away; takes precedence over ``facing``.
    """

    vertices: FloatArray
    faces: IntArray
    tissue: Tissue | FloatArray
    fdi: int = 0
    attributes: dict[str, FloatArray] = field(default_factory=dict)
    facing: FloatArray | None = None
    centre: FloatArray | None = None

    def moved(self, offset: FloatArray) -> Part:
        """The same part shifted by ``offset`` (3,) mm."""
        centre = None if self.centre is None else self.centre + offset
        return Part(self.vertices + offset, self.faces, self.tissue, self.fdi, self.attributes, self.facing, centre)


@dataclass(frozen=True, slots=True)
class Mesh:
    """Joined parts with normals and labels.

    Attributes:
        vertices, normals: (V, 3) mm and unit vectors.
        faces: (F, 3) vertex indices.
        tissue, fdi: (F,) labels.
        attributes: (V,) values of every name in ``ATTRIBUTES``.
    """

    vertices: FloatArray
    normals: FloatArray
    faces: IntArray
    tissue: NDArray[np.uint8]
    fdi: NDArray[np.uint8]
    attributes: dict[str, FloatArray]


def join_parts(parts: list[Part]) -> Mesh:
    """Join parts into one mesh, in order."""
    return join_meshes([_mesh(part) for part in parts])


def join_meshes(meshes: list[Mesh]) -> Mesh:
    """Join meshes into one, in order, keeping their normals."""
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return Mesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        normals=np.concatenate([mesh.normals for mesh in meshes]),
        faces=np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=False)]),
        tissue=np.concatenate([mesh.tissue for mesh in meshes]),
        fdi=np.concatenate([mesh.fdi for mesh in meshes]),
        attributes={name: np.concatenate([mesh.attributes[name] for mesh in meshes]) for name in ATTRIBUTES},
    )


def _mesh(part: Part) -> Mesh:
    none = np.zeros(len(part.vertices))
    attributes = {name: part.attributes.get(name, none) for name in ATTRIBUTES}
    tissue, fdi = (np.broadcast_to(np.asarray(label, np.uint8), len(part.faces)) for label in (part.tissue, part.fdi))
    return Mesh(part.vertices, oriented_normals(part), part.faces, tissue, fdi, attributes)


def grid_faces(num_rows: int, num_columns: int, *, closed: bool = False) -> IntArray:
    """Triangles (F, 3) of a vertex grid stored row by row; ``closed`` joins the last column to the first."""
    row = np.arange(num_rows - 1)[:, None] * num_columns
    column = np.arange(num_columns if closed else num_columns - 1)[None]
    following = (column + 1) % num_columns
    quad = np.stack(
        [row + column, row + following, row + num_columns + following, row + num_columns + column], -1
    ).reshape(-1, 4)
    return np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]])


def vertex_normals(vertices: FloatArray, faces: IntArray) -> FloatArray:
    """Area-weighted unit normals (V, 3)."""
    corner = vertices[faces]
    face_normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normals = np.empty_like(vertices)
    for axis in range(3):
        normals[:, axis] = np.bincount(faces.ravel(), np.repeat(face_normal[:, axis], 3), minlength=len(vertices))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)


def oriented_normals(part: Part) -> FloatArray:
    """Unit normals (V, 3) of a part, flipped as a whole to agree with its ``centre`` or ``facing``."""
    normals = vertex_normals(part.vertices, part.faces)
    if part.centre is not None:
        agreement = ((part.vertices - part.centre) * normals).sum(1)
    elif part.facing is not None:
        agreement = normals @ part.facing
    else:
        return normals
    return -normals if np.median(agreement) < 0 else normals
