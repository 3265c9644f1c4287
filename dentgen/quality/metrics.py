"""Metrics on label maps and pictures. Arrays in, numbers out; refuses to know models and files."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def confusion(predicted: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """(classes, classes) pixel counts, truth by row; pixels of other values (ignore) are left out."""
    known = (truth < classes) & (predicted < classes)
    flat = truth[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(flat, minlength=classes**2).reshape(classes, classes)


def mean_iou(matrix: NDArray[np.int64]) -> float:
    """Mean intersection over union of the classes that occur in truth or prediction."""
    return float(np.nanmean(class_ious(matrix)))


def mistaken_share(matrix: NDArray[np.int64], truth: int, predicted: int) -> float:
    """Share of one class's pixels that were taken for another class; NaN if there are none of it.

    Teeth taken for gum are bleed-in; gum taken for teeth is its converse.
    """
    pixels = int(matrix[truth].sum())
    return float(matrix[truth, predicted] / pixels) if pixels else float("nan")


def class_ious(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of each class; NaN for one that occurs in neither."""
    hit = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - hit
    return np.where(union > 0, hit / np.maximum(union, 1), np.nan)


def set_miou(predicted: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int = 3) -> float:
    """Mean IoU over a whole set of label maps (n, H, W)."""
    return mean_iou(confusion(predicted, truth, classes))


def rgb_to_lab(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """SRGB (..., 3) to CIE Lab (D65)."""
    return linear_to_lab(_linear(pixels))


def luminance(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """SRGB (..., 3) to linear luminance (...), 0..1."""
    return _linear(pixels) @ np.array([0.2126, 0.7152, 0.0722])


def _linear(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    value = pixels.astype(np.float64) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def linear_to_lab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear sRGB (..., 3), 0..1, to CIE Lab (D65)."""
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / [0.9505, 1.0, 1.089]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def variant_spread(variants: NDArray[np.uint8]) -> float:
    """How much variants of one record differ: mean over pixels of the standard deviation of levels (v, H, W, 3)."""
    return float(variants.astype(np.float64).std(0).mean())


def light_correlation(
    pictures: NDArray[np.uint8], light: NDArray[np.uint8], inside: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """How well pictures follow their lighting map within a mask.

    Args:
        pictures: (n, H, W, 3) sRGB.
        light: (n, H, W) lighting.
        inside: (n, H, W) pixels that count, such as teeth.

    Returns:
        (n,) Pearson correlation of linear luminance and lighting; NaN where a picture has too few pixels or one of the
        two is constant.
    """
    return np.array([_pearson(luminance(p[m]), v[m]) for p, v, m in zip(pictures, light, inside, strict=True)])


def _pearson(a: NDArray[np.float64], b: NDArray[np.uint8]) -> float:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    x, y = a - a.mean(), b - b.mean()
    return float((x @ y) / np.sqrt((x @ x) * (y @ y)))
