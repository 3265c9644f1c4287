"""Turn the triangles of a scan outwards: inward ones would darken its light and invert its curvature."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dentgen.conditions.labels import UPPER_QUADRANTS
from dentgen.ingest.scans.orientation import CROWNS_MM
from dentgen.phantom.anatomy import FloatArray
from dentgen.phantom.mesh import Mesh, vertex_normals

#: Gum this near to a tooth faces the biting side on the whole, mm.
_NEAR_MM: Final = 4.0
#: Share of a tooth's surface, weighted with its distance from the centre, by which it faces inwards for certain.
_INWARDS_SHARE: Final = -0.2


def turned_outwards(mesh: Mesh, *, upper: bool) -> Mesh:
    """A posed scan whose teeth face away from their centres, and whose gum faces the biting side beside them.

    Every tooth and the gum of each jaw is turned as a whole; files whose triangles face outwards stay as they are. A
    tooth is turned on clear evidence only: where its triangles disagree, or it is nearly flat, it stays as it is.

    Args:
        mesh: The scan in the frame of phantoms.
        upper: Jaw of a scan without labels.
    """
    centres, normals = _centres_and_normals(mesh)
    inwards = np.zeros(len(mesh.faces), bool)
    for number in np.unique(mesh.fdi[mesh.fdi > 0]):
        own = mesh.fdi == number
        from_centre = centres[own] - centres[own].mean(0)
        outward = (from_centre * normals[own]).sum()
        most = (np.linalg.norm(from_centre, axis=1) * np.linalg.norm(normals[own], axis=1)).sum()
        inwards[own] = outward < _INWARDS_SHARE * most
    for own, near, is_upper in _gums(mesh, centres, upper=upper):
        bitewards = normals[near, 1].sum() * (-1.0 if is_upper else 1.0)
        inwards[own] = bitewards < 0
    if not inwards.any():
        return mesh
    faces = np.where(inwards[:, None], mesh.faces[:, ::-1], mesh.faces)
    return replace(mesh, faces=faces, normals=vertex_normals(mesh.vertices, faces))


def _centres_and_normals(mesh: Mesh) -> tuple[FloatArray, FloatArray]:
    """Centres (F, 3), and normals (F, 3) that are twice as long as a triangle is large."""
    corners = mesh.vertices[mesh.faces]
    return corners.mean(1), np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _gums(mesh: Mesh, centres: FloatArray, *, upper: bool) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_], bool]]:
    """For the gum of each jaw: its triangles, those that face the biting side, and whether the jaw is the upper one."""
    gum, teeth = mesh.fdi == 0, mesh.fdi > 0
    if not teeth.any():
        return [(gum, np.abs(centres[:, 1]) < CROWNS_MM, upper)]
    distance = np.full(len(centres), np.inf)
    of_upper = np.zeros(len(centres), bool)
    distance[gum], nearest = cKDTree(centres[teeth]).query(centres[gum])
    of_upper[gum] = np.isin(mesh.fdi[teeth][nearest] // 10, UPPER_QUADRANTS)
    sides = [(gum & (of_upper == is_upper), is_upper) for is_upper in (True, False)]
    return [(own, own & (distance < _NEAR_MM), is_upper) for own, is_upper in sides if own.any()]
