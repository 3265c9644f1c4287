"""Boundary metrics: F1 of predicted against labelled outlines, and edge energy away from outlines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dentgen.quality.metrics import luminance


def boundary_f1(
    judged: NDArray[np.bool_], labelled: NDArray[np.bool_], known: NDArray[np.bool_], tolerance: float
) -> float:
    """Boundary F1 score over a set of masks (Csurka et al. 2013, https://doi.org/10.5244/C.27.32).

    An outline pixel belongs to its mask and has a 4-neighbour outside; the image border is not an outline. It matches
    if the other outline has a pixel within ``tolerance``. Outline pixels within ``tolerance`` of an unknown pixel are
    not counted, because the masks of partly hidden teeth end there.

    Args:
        judged: (n, H, W) predicted masks.
        labelled: (n, H, W) reference masks.
        known: (n, H, W) pixels whose label is known.
        tolerance: Euclidean distance between pixel centres, pixels.

    Returns:
        Harmonic mean of precision and recall, 0..1, with the outline pixels of all images pooled; NaN if no outline
        pixel is counted.
    """
    counts = np.zeros(4, np.int64)
    for predicted, truth, visible in zip(judged, labelled, known, strict=True):
        counted = visible if visible.all() else ndimage.distance_transform_edt(visible) > tolerance
        counts += [*_matches(_outline(predicted), _outline(truth), counted, tolerance),
                   *_matches(_outline(truth), _outline(predicted), counted, tolerance)]  # fmt: skip
    matched_predicted, all_predicted, matched_true, all_true = counts.tolist()
    if all_predicted + all_true == 0:
        return float("nan")
    precision, recall = matched_predicted / max(all_predicted, 1), matched_true / max(all_true, 1)
    return 2 * precision * recall / max(precision + recall, 1e-12)


def interiors(numbers: NDArray[np.uint8], depth: float) -> NDArray[np.bool_]:
    """Return the pixels of teeth more than ``depth`` pixels away from any change of tooth number.

    Args:
        numbers: (n, H, W) FDI numbers, 0 for none.
        depth: Euclidean distance between pixel centres, pixels.

    Returns:
        (n, H, W) mask.
    """
    return np.stack([(n > 0) & _far(_changes(n), depth) for n in numbers])


def outlines(numbers: NDArray[np.uint8], reach: float) -> NDArray[np.bool_]:
    """Return the pixels within ``reach`` pixels of any change of tooth number.

    Args:
        numbers: (n, H, W) FDI numbers, 0 for none.
        reach: Euclidean distance between pixel centres, pixels.

    Returns:
        (n, H, W) mask.
    """
    return np.stack([~_far(_changes(n), reach) for n in numbers])


def edge_energy(pictures: NDArray[np.uint8], inside: NDArray[np.bool_]) -> float:
    """Mean squared gradient of linear luminance within a mask.

    Contours, texture and highlights all raise it; blur lowers it everywhere.

    Args:
        pictures: (n, H, W, 3) sRGB uint8.
        inside: (n, H, W) pixels to average over.

    Returns:
        Mean of squared luminance differences per pixel, luminance 0..1; NaN if the mask is empty.
    """
    total, pixels = 0.0, 0
    for picture, mask in zip(pictures, inside, strict=True):
        light = luminance(picture)
        gradient = np.stack([np.gradient(light, axis=axis) for axis in (0, 1)])
        total += float((gradient[:, mask] ** 2).sum())
        pixels += int(mask.sum())
    return total / pixels if pixels else float("nan")


def _matches(
    outline: NDArray[np.bool_], other: NDArray[np.bool_], counted: NDArray[np.bool_], tolerance: float
) -> tuple[int, int]:
    """Number of counted outline pixels within ``tolerance`` of the other outline, and of all counted ones."""
    pixels = outline & counted
    return int((pixels & ~_far(other, tolerance)).sum()), int(pixels.sum())


def _far(marks: NDArray[np.bool_], distance: float) -> NDArray[np.bool_]:
    """Mask of the pixels without a mark within ``distance``."""
    return ndimage.distance_transform_edt(~marks) > distance if marks.any() else np.ones(marks.shape, bool)


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return mask & _changes(mask)


def _changes(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Mask of the pixels with a 4-neighbour of another value."""
    changes = np.zeros(values.shape, bool)
    down, right = values[1:] != values[:-1], values[:, 1:] != values[:, :-1]
    changes[1:] |= down
    changes[:-1] |= down
    changes[:, 1:] |= right
    changes[:, :-1] |= right
    return changes
