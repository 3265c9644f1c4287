"""Outlines of masks as polygons, and what polygons cannot hold; needs OpenCV (extra ``formats``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

#: Outlines are traced on a mask enlarged this many times, so that they run along the edges of pixels.
_FINE = 4
#: Parts that one outline joins; a tooth behind wires and probes has a few, noise has thousands.
_MAX_PARTS = 100


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """Outline of one mask.

    Attributes:
        polygon: (n, 2) x and y in pixels, at least three points; parts are joined by lines there and back.
        parts: Number of its parts.
        holes: Number of holes, which the polygon fills.
        iou: Intersection over union of the mask and the polygon as trainers fill it.
    """

    polygon: NDArray[np.float64]
    parts: int
    holes: int
    iou: float


def outline_of(mask: NDArray[np.bool_]) -> Outline:
    """Trace a mask (H, W) through the centres of its border pixels, as YOLO's loader fills polygons.

    The loader truncates coordinates to whole pixels and fills with the border, so that a mask in one part and without
    holes comes back as it was.
    """
    contours, hierarchy = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    is_outer = hierarchy[0][:, 3] < 0
    outer = [
        np.asarray(contour[:, 0], np.int32) for contour, outside in zip(contours, is_outer, strict=True) if outside
    ]
    joined = _joined(sorted(outer, key=len, reverse=True))
    polygon = joined.astype(np.float64) + 0.5
    return Outline(
        np.concatenate([polygon, np.repeat(polygon[-1:], max(0, 3 - len(polygon)), 0)]),
        len(outer), int((~is_outer).sum()), iou(mask, filled(polygon, mask.shape)),
    )  # fmt: skip


def filled(polygon: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The mask (H, W) that YOLO's loader makes of a polygon (n, 2)."""
    canvas: Any = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [polygon.astype(np.int32)], 1)
    return np.asarray(canvas, bool)


def edge_polygons(mask: NDArray[np.bool_]) -> tuple[list[list[float]], int]:
    """Polygons (x, y, x, y, ...) of all parts of a mask along the edges of its pixels, and the number of its holes."""
    fine = mask.astype(np.uint8).repeat(_FINE, 0).repeat(_FINE, 1)
    contours, hierarchy = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    is_outer = hierarchy[0][:, 3] < 0
    outer = [contour[:, 0] for contour, outside in zip(contours, is_outer, strict=True) if outside]
    return [np.round((points + 0.5) / _FINE, 3).ravel().tolist() for points in outer], int((~is_outer).sum())


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks, 1 for two empty ones."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def _joined(parts: list[NDArray[np.int32]]) -> NDArray[np.int32]:
    """One polygon (n, 2) of the largest parts: each next one is entered at the nearest point, and left there."""
    whole = parts[0]
    for part in parts[1:_MAX_PARTS]:
        distance, nearest = cKDTree(whole).query(part)
        start = int(distance.argmin())
        at = int(nearest[start])
        around = np.roll(part, -start, 0)
        whole = np.concatenate([whole[: at + 1], around, around[:1], whole[at:]])
    return whole
