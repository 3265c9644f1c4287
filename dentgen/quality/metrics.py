"""Basic metrics on label maps and images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dentgen.quality.srgb import to_linear


def confusion(predicted: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Confusion matrix of two label maps of the same shape.

    Returns:
        (classes, classes) pixel counts, rows by true class; pixels where either map has another value, such as
        ``IGNORE``, are left out.
    """
    known = (truth < classes) & (predicted < classes)
    flat = truth[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(flat, minlength=classes**2).reshape(classes, classes)


def mean_iou(matrix: NDArray[np.int64]) -> float:
    """Mean intersection over union, 0..1, of the classes that occur in truth or prediction."""
    return float(np.nanmean(class_ious(matrix)))


def mistaken_share(matrix: NDArray[np.int64], truth: int, predicted: int) -> float:
    """Share, 0..1, of the pixels of class ``truth`` that are predicted as ``predicted``; NaN if there are none."""
    pixels = int(matrix[truth].sum())
    return float(matrix[truth, predicted] / pixels) if pixels else float("nan")


def class_ious(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of each class, (classes,); NaN for a class in neither truth nor prediction."""
    hit = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - hit
    return np.where(union > 0, hit / np.maximum(union, 1), np.nan)


def set_miou(predicted: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int = 3) -> float:
    """Mean IoU of label maps (n, H, W), with the pixels of all images pooled."""
    return mean_iou(confusion(predicted, truth, classes))


def rgb_to_lab(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Convert sRGB uint8 (..., 3) to CIE L*a*b* (..., 3) under D65."""
    return linear_to_lab(_linear(pixels))


def luminance(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Relative luminance, 0..1, of sRGB uint8 (..., 3): the Y of IEC 61966-2-1."""
    return _linear(pixels) @ np.array([0.2126, 0.7152, 0.0722])


def _linear(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Decode sRGB to linear values, 0..1 (IEC 61966-2-1)."""
    return to_linear(pixels.astype(np.float64) / 255)


def linear_to_lab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert linear sRGB (..., 3), 0..1, to CIE L*a*b* (..., 3) under D65 (CIE 15, IEC 61966-2-1)."""
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / [0.9505, 1.0, 1.089]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def variant_spread(variants: NDArray[np.uint8]) -> float:
    """Standard deviation of levels over the variants (v, H, W, 3) of a record, averaged over pixels and channels."""
    return float(variants.astype(np.float64).std(0).mean())


def light_correlation(
    pictures: NDArray[np.uint8], light: NDArray[np.uint8], inside: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Pearson correlation of linear luminance with the lighting map, per image.

    Args:
        pictures: (n, H, W, 3) sRGB uint8.
        light: (n, H, W) uint8 lighting.
        inside: (n, H, W) mask of pixels to compare, such as teeth.

    Returns:
        (n,) correlations, -1..1; NaN for an image with fewer than two pixels in the mask, or with constant luminance or
        lighting there.
    """
    return np.array([_pearson(luminance(p[m]), v[m]) for p, v, m in zip(pictures, light, inside, strict=True)])


def light_levels_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Pearson correlation, -1..1, of two lightings (n,) of the same pixels; NaN for fewer than two or constant ones."""
    return _pearson(one, other)


def _pearson(a: NDArray[np.float64], b: NDArray[np.uint8] | NDArray[np.float64]) -> float:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    x, y = a - a.mean(), b - b.mean()
    return float((x @ y) / np.sqrt((x @ x) * (y @ y)))
