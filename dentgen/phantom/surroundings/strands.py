"""Strings of saliva between teeth and their surroundings: light on the picture, which hides nothing.

Lengths, widths and shares were chosen by eye.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from dentgen.phantom.anatomy import FloatArray, IntArray
from dentgen.phantom.camera import Camera
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.scene import Surface

#: Share of pictures with strings, where there is room for one, and the most of them.
_SHARE, _MOST = 0.15, 3
_ENDS: Final = (Tissue.TOOTH, Tissue.GUM, Tissue.MUCOSA, Tissue.TONGUE, Tissue.DAM)
#: Length, mm; clearance of the middle part before what lies behind it, mm; places tried for one string.
_LENGTH_MM, _CLEARANCE_MM, _TRIES = (3.0, 13.0), 0.7, 40
#: Radius at the ends and in the middle, mm, and the least that is drawn, pixels.
_END_MM, _MIDDLE_MM, _LEAST_PX = (0.12, 0.3), (0.03, 0.09), 0.55
_POINTS: Final = 33
_SAG: Final = 0.06


def sample_strands(centres: Surface, camera: Camera, size: int, rng: np.random.Generator) -> FloatArray | None:
    """Draw the strings of one picture.

    Args:
        centres: Traced pixel centres.
        camera: The camera.
        size: Edge of the picture, pixels.
        rng: Source of all choices.

    Returns:
        (size, size) light of the strings, 0..1 of their brightest; None if there are none.
    """
    strung, count = rng.random() < _SHARE, int(rng.integers(1, _MOST + 1))
    if not strung or not (centres.tissue == Tissue.TOOTH).any():
        return None
    light = np.zeros((size, size))
    for _ in range(count):
        line = _spanned(centres, camera, size, rng)
        if line is not None:
            light = np.maximum(light, _drawn(line, camera, size, rng))
    return light if light.any() else None


def _spanned(centres: Surface, camera: Camera, size: int, rng: np.random.Generator) -> FloatArray | None:
    """Points (n, 3) of a string from a tooth over a gap, nothing before it; None if no place was found."""
    teeth = centres.position[centres.tissue == Tissue.TOOTH]
    ends = centres.position[np.isin(centres.tissue, _ENDS)]
    for _ in range(_TRIES):
        first = rng.choice(teeth)
        length = np.linalg.norm(ends - first, axis=1)
        near = np.flatnonzero((length >= _LENGTH_MM[0]) & (length <= _LENGTH_MM[1]))
        if len(near):
            chosen = int(rng.choice(near))
            share = np.linspace(0, 1, _POINTS)[:, None]
            sag = -_SAG * length[chosen] * 4 * share * (1 - share) * camera.axes[1]
            line = first + share * (ends[chosen] - first) + sag
            if _is_clear(line, centres, camera, size):
                return line
    return None


def _is_clear(line: FloatArray, centres: Surface, camera: Camera, size: int) -> bool:
    """Whether the middle of a string is well before the surface, and no part of it far behind."""
    column, row = camera.project(line, size)
    if min(column.min(), row.min()) < 0 or max(column.max(), row.max()) >= size:
        return False
    pixel = row.astype(int) * size + column.astype(int)
    behind = np.where(centres.hit[pixel], centres.depth_mm[pixel], np.inf)
    clearance = behind + (line - camera.eye) @ camera.axes[2]
    middle = slice(_POINTS // 5, -_POINTS // 5)
    return bool(clearance.min() > -_CLEARANCE_MM and clearance[middle].min() > _CLEARANCE_MM)


def _drawn(line: FloatArray, camera: Camera, size: int, rng: np.random.Generator) -> FloatArray:
    """Light (size, size) of a string: bright where it turns to the lamps, dark in between."""
    column, row = _every_half_pixel(*camera.project(line, size))
    share = np.linspace(0, 1, len(column))
    middle_mm, end_mm = rng.uniform(*_MIDDLE_MM), rng.uniform(*_END_MM)
    radius = (middle_mm + (end_mm - middle_mm) * np.abs(2 * share - 1) ** 4) * size / camera.width_mm
    glint = np.clip(0.55 + 0.6 * np.sin(rng.uniform(5, 20) * share + rng.uniform(0, 6)), 0.08, 1)
    glint = glint * rng.uniform(0.5, 1.0) * np.minimum(1, radius / _LEAST_PX)
    pixels = _near(column, row, float(radius.max()) + 2, size)
    distance, at = cKDTree(np.stack([row, column], 1)).query(pixels + 0.5)
    light = np.zeros((size, size))
    cover = np.clip(np.maximum(radius[at], _LEAST_PX) + 0.5 - distance, 0, 1)
    light[pixels[:, 0], pixels[:, 1]] = cover * glint[at]
    return light


def _every_half_pixel(column: FloatArray, row: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A line (n,) with points so close that the nearest one is as near as the line itself."""
    reached = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(column), np.diff(row)))])
    at = np.linspace(0, reached[-1], 2 + int(2 * reached[-1]))
    return np.interp(at, reached, column), np.interp(at, reached, row)


def _near(column: FloatArray, row: FloatArray, margin: float, size: int) -> IntArray:
    """Rows and columns (n, 2) of the pixels around a line."""
    top, bottom = (int(np.clip(edge, 0, size)) for edge in (row.min() - margin, row.max() + margin + 1))
    left, right = (int(np.clip(edge, 0, size)) for edge in (column.min() - margin, column.max() + margin + 1))
    return np.mgrid[top:bottom, left:right].reshape(2, -1).T
