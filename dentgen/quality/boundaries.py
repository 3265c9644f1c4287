"""Outlines: whether judged teeth end where labelled teeth end, and what contours there are where none should be.

Distances are Euclidean, between pixel centres. Arrays in, numbers out; refuses to know judges, models and files.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dentgen.quality.metrics import luminance


def boundary_f1(
    judged: NDArray[np.bool_], labelled: NDArray[np.bool_], known: NDArray[np.bool_], tolerance: float
) -> float:
    """F1 of the outlines of masks over a whole set.

    An outline pixel belongs to its mask and has an edge neighbour outside; the picture's border is no outline. It is
    right if the other outline has a pixel within ``tolerance``. Those within ``tolerance`` of a pixel that is not known
    are not counted, because what hides a tooth cuts its mask.

    Args:
        judged: (n, H, W) masks, as is ``labelled``.
        labelled: What they should be.
        known: (n, H, W) pixels whose label is known.
        tolerance: Pixels.

    Returns:
        Harmonic mean of the share of judged outline that is right and the share of labelled outline that is found,
        pixels of all pictures counted together; NaN if there is no outline at all.
    """
    counts = np.zeros(4, np.int64)
    for pictured, wanted, clear in zip(judged, labelled, known, strict=True):
        free = clear if clear.all() else ndimage.distance_transform_edt(clear) > tolerance
        counts += [*_near(_outline(pictured), _outline(wanted), free, tolerance),
                   *_near(_outline(wanted), _outline(pictured), free, tolerance)]  # fmt: skip
    right, drawn, found, wanted_pixels = counts.tolist()
    if drawn + wanted_pixels == 0:
        return float("nan")
    precision, recall = right / max(drawn, 1), found / max(wanted_pixels, 1)
    return 2 * precision * recall / max(precision + recall, 1e-12)


def interiors(numbers: NDArray[np.uint8], depth: float) -> NDArray[np.bool_]:
    """(n, H, W) pixels of numbered teeth that lie more than ``depth`` pixels from where any number ends."""
    return np.stack([(n > 0) & _far(_changes(n), depth) for n in numbers])


def outlines(numbers: NDArray[np.uint8], reach: float) -> NDArray[np.bool_]:
    """(n, H, W) pixels that lie at most ``reach`` pixels from where any number ends."""
    return np.stack([~_far(_changes(n), reach) for n in numbers])


def edge_energy(pictures: NDArray[np.uint8], inside: NDArray[np.bool_]) -> float:
    """Mean squared slope of linear luminance (per pixel) over a mask (n, H, W) of pictures (n, H, W, 3).

    It says how much contour there is, not whose: texture and highlights count as well, and blur lowers it everywhere.
    """
    total, pixels = 0.0, 0
    for picture, mask in zip(pictures, inside, strict=True):
        light = luminance(picture)
        slopes = np.stack([np.gradient(light, axis=axis) for axis in (0, 1)])
        total += float((slopes[:, mask] ** 2).sum())
        pixels += int(mask.sum())
    return total / pixels if pixels else float("nan")


def _near(
    outline: NDArray[np.bool_], other: NDArray[np.bool_], free: NDArray[np.bool_], tolerance: float
) -> tuple[int, int]:
    """Counted pixels of an outline that have one of the other within the tolerance; counted pixels."""
    counted = outline & free
    return int((counted & ~_far(other, tolerance)).sum()), int(counted.sum())


def _far(marks: NDArray[np.bool_], distance: float) -> NDArray[np.bool_]:
    """Pixels that have no mark within a distance."""
    return ndimage.distance_transform_edt(~marks) > distance if marks.any() else np.ones(marks.shape, bool)


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return mask & _changes(mask)


def _changes(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Pixels with an edge neighbour of another value."""
    changes = np.zeros(values.shape, bool)
    down, right = values[1:] != values[:-1], values[:, 1:] != values[:, :-1]
    changes[1:] |= down
    changes[:-1] |= down
    changes[:, 1:] |= right
    changes[:, :-1] |= right
    return changes
