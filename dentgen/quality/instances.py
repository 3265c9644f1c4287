"""Tooth-level metrics: recall of labelled teeth and number of connected components.

A tissue classifier has no border between touching teeth, so a tooth counts as found where its pixels are classified as
tooth, whether or not it is separated from its neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True, slots=True)
class TeethFound:
    """Counts of teeth over a set of images.

    Attributes:
        found: Teeth with at least half of their known pixels predicted as tooth.
        teeth: Teeth that are large enough to count.
        small: Teeth left out because too few of their pixels are known.
    """

    found: int
    teeth: int
    small: int

    @property
    def recall(self) -> float:
        """``found / teeth``, 0..1; NaN if there are no teeth."""
        return self.found / self.teeth if self.teeth else float("nan")


def find_teeth(judged: NDArray[np.bool_], fdi: NDArray[np.uint8], known: NDArray[np.bool_], least: int) -> TeethFound:
    """Count the labelled teeth that are predicted as tooth.

    Args:
        judged: (n, H, W) mask of pixels predicted as tooth.
        fdi: (n, H, W) uint8 FDI numbers, 0 for none; all pixels of one number in an image are one tooth.
        known: (n, H, W) mask of pixels to count; false where a tooth is hidden.
        least: Smallest number of known pixels for a tooth to count.
    """
    number = fdi.astype(np.int64) + 256 * np.arange(len(fdi))[:, None, None]
    counted = (fdi > 0) & known
    pixels = np.bincount(number[counted], minlength=256 * len(fdi))
    hits = np.bincount(number[counted & judged], minlength=256 * len(fdi))
    large = pixels >= max(least, 1)
    found = large & (2 * hits >= pixels)
    return TeethFound(int(found.sum()), int(large.sum()), int(((pixels > 0) & ~large).sum()))


def component_ratio(judged: NDArray[np.bool_], labelled: NDArray[np.bool_], least: int) -> float:
    """Ratio of predicted to labelled connected components.

    Args:
        judged: (n, H, W) predicted masks of teeth.
        labelled: (n, H, W) reference masks.
        least: Pixels of the smallest component that counts.

    Returns:
        1 where the numbers agree, more where teeth are doubled or broken, less where they are merged or missing; NaN if
        no component is labelled.
    """
    components = sum(_components(mask, least) for mask in labelled)
    return sum(_components(mask, least) for mask in judged) / components if components else float("nan")


def _components(mask: NDArray[np.bool_], least: int) -> int:
    """Number of 8-connected components of a mask (H, W) with at least ``least`` pixels."""
    numbers, _ = ndimage.label(mask, np.ones((3, 3)))
    return int((np.bincount(numbers.ravel())[1:] >= least).sum())
