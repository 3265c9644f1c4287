"""Figures of single pictures: agreement with their label maps as judges see it, light, exposure and sharpness."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import GINGIVA, IGNORE, TOOTH
from dentgen.quality.boundaries import boundary_f1
from dentgen.quality.instances import find_teeth
from dentgen.quality.map_agreement import LEAST_TOOTH, TOLERANCE, Maps
from dentgen.quality.metrics import confusion, light_correlation, luminance, mean_iou, mistaken_share
from dentgen.quality.sharpness import high_frequency_energy
from dentgen.records import FigureName

#: Figures of which only one side is bad; of the others, both are.
BAD_IF_LOW: Final[frozenset[FigureName]] = frozenset(
    {"miou", "tooth_recall", "boundary_f1", "light_correlation", "contrast", "distinct"}
)
BAD_IF_HIGH: Final[frozenset[FigureName]] = frozenset({"bleed_in", "bleed_out", "shift", "clipped"})

#: Image size, pixels, for which lengths are given.
_EDGE: Final = 128
#: Farthest shift that is looked for, pixels at that size.
_FARTHEST: Final = 6
#: Levels at and beyond which a pixel has lost what it showed.
_BLACK, _WHITE = 3, 252
#: Keeps the logarithm finite.
_LEAST_ENERGY: Final = 1e-12


def picture_figures(
    pictures: NDArray[np.uint8], probabilities: NDArray[np.float32], maps: Maps
) -> dict[FigureName, NDArray[np.float64]]:
    """Every figure but ``distinct`` of every picture.

    * ``miou``, ``tooth_recall``, ``boundary_f1``, ``bleed_in``, ``bleed_out``: as ``judged_figures``, of one picture;
      what the judges hold most likely together counts.
    * ``shift``: distance, in pixels at an image size of 128, by which the teeth that the judges see would have to be
      moved to fit the labels best; at most 6 in each direction.
    * ``light_correlation``: of luminance and lighting map within teeth, -1..1.
    * ``luminance``, ``contrast``: mean and standard deviation of the linear luminance, 0..1.
    * ``clipped``: share of pixels that are black or white in all channels, where something is labelled.
    * ``sharpness``: decimal logarithm of the energy at wavelengths below four pixels, per variance of the luminance.

    Args:
        pictures: (n, H, W, 3) sRGB uint8.
        probabilities: (n, 3, H, W) background, gingiva and tooth, as the judges see them, their mean.
        maps: The label maps.

    Returns:
        (n,) values by name; NaN where a map has nothing to compare with.
    """
    judged = probabilities.argmax(1).astype(np.uint8)
    rows = [_agreement(*one) for one in _singly(judged, maps)]
    figures: dict[FigureName, NDArray[np.float64]] = {
        name: np.array([row[name] for row in rows], np.float64) for name in rows[0]
    }
    known = maps.seg != IGNORE
    light, teeth = luminance(pictures), maps.seg == TOOTH
    variance = light.var((1, 2))
    figures["shift"] = _shifts(probabilities[:, TOOTH], teeth, known)
    figures["light_correlation"] = light_correlation(pictures, maps.light, teeth)
    figures["luminance"], figures["contrast"] = light.mean((1, 2)), np.sqrt(variance)
    figures["clipped"] = _clipped(pictures, known & (maps.seg > 0))
    energy = high_frequency_energy(pictures) / np.maximum(variance, _LEAST_ENERGY)
    figures["sharpness"] = np.log10(np.maximum(energy, _LEAST_ENERGY))
    return figures


def _singly(judged: NDArray[np.uint8], maps: Maps) -> Iterator[tuple[NDArray[np.uint8], Maps]]:
    for i in range(len(judged)):
        one = slice(i, i + 1)
        yield judged[one], Maps(maps.seg[one], maps.fdi[one], maps.light[one])


def _agreement(judged: NDArray[np.uint8], maps: Maps) -> dict[FigureName, float]:
    """Figures of one picture's judged classes (1, H, W)."""
    scale = min(judged.shape[1:]) / _EDGE
    least, known = round(LEAST_TOOTH * scale**2), maps.seg != IGNORE
    matrix = confusion(judged, maps.seg, 3)
    tooth = (judged == TOOTH) & known
    return {
        "miou": mean_iou(matrix) if matrix.any() else float("nan"),
        "tooth_recall": find_teeth(tooth, maps.fdi, known, least).recall,
        "boundary_f1": boundary_f1(judged == TOOTH, maps.seg == TOOTH, known, TOLERANCE * scale),
        "bleed_in": mistaken_share(matrix, TOOTH, GINGIVA),
        "bleed_out": mistaken_share(matrix, GINGIVA, TOOTH),
    }


def _shifts(seen: NDArray[np.float32], teeth: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance of the best fit of seen (n, H, W) and labelled teeth from no shift, pixels at an image size of 128."""
    scale = min(seen.shape[1:]) / _EDGE
    reach = max(1, round(_FARTHEST * scale))
    seen = np.where(known, seen, 0.0)
    padding = ((0, 0), (reach, reach), (reach, reach))
    first, second = (
        np.pad(maps - maps.mean((1, 2), keepdims=True), padding) for maps in (seen, teeth.astype(np.float64))
    )
    product = np.fft.rfft2(first) * np.conj(np.fft.rfft2(second))
    fits = np.fft.irfft2(product, first.shape[1:])
    window = np.roll(fits, (reach, reach), (1, 2))[:, : 2 * reach + 1, : 2 * reach + 1]
    best = window.reshape(len(seen), -1).argmax(1)
    down, right = best // (2 * reach + 1) - reach, best % (2 * reach + 1) - reach
    distance = np.hypot(down, right) / scale
    return np.where(teeth.any((1, 2)), distance, np.nan)


def _clipped(pictures: NDArray[np.uint8], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    lost = ((pictures <= _BLACK).all(-1) | (pictures >= _WHITE).all(-1)) & counted
    pixels = counted.sum((1, 2))
    return np.where(pixels > 0, lost.sum((1, 2)) / np.maximum(pixels, 1), np.nan)
