"""Teeth one by one: which of those that a map names are in a picture. Arrays in, counts out.

A judge that knows tissues sees no border between two teeth that touch: whether a tooth is *found* says that there is
tooth where the map has this one, not that it is told from its neighbour. Refuses to know judges, models and files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True, slots=True)
class TeethFound:
    """Teeth of a set of pictures.

    Attributes:
        found: Teeth of which at least half is judged tooth.
        teeth: Teeth that count.
        small: Teeth left out, of which fewer than the least number of pixels are seen.
    """

    found: int
    teeth: int
    small: int

    @property
    def recall(self) -> float:
        """Share of the teeth that are found; NaN if there are none."""
        return self.found / self.teeth if self.teeth else float("nan")


def find_teeth(judged: NDArray[np.bool_], fdi: NDArray[np.uint8], known: NDArray[np.bool_], least: int) -> TeethFound:
    """Look for every tooth of the maps.

    Args:
        judged: (n, H, W) pixels judged tooth.
        fdi: (n, H, W) FDI number of every pixel, 0 for none; a number is one tooth of its picture.
        known: (n, H, W) pixels that count; what hides a tooth does not.
        least: Pixels that a tooth must show to be looked for.
    """
    number = fdi.astype(np.int64) + 256 * np.arange(len(fdi))[:, None, None]
    counted = (fdi > 0) & known
    pixels = np.bincount(number[counted], minlength=256 * len(fdi))
    hits = np.bincount(number[counted & judged], minlength=256 * len(fdi))
    looked_for = pixels >= max(least, 1)
    found = looked_for & (2 * hits >= pixels)
    return TeethFound(int(found.sum()), int(looked_for.sum()), int(((pixels > 0) & ~looked_for).sum()))


def component_ratio(judged: NDArray[np.bool_], labelled: NDArray[np.bool_], least: int) -> float:
    """Pieces of judged tooth for every piece that is labelled; 1 is right, more are doubled or broken teeth.

    Args:
        judged: (n, H, W) masks of teeth, as is ``labelled``.
        labelled: What they should be.
        least: Pixels of the smallest piece that counts.
    """
    pieces = sum(_components(mask, least) for mask in labelled)
    return sum(_components(mask, least) for mask in judged) / pieces if pieces else float("nan")


def _components(mask: NDArray[np.bool_], least: int) -> int:
    """Pieces of a mask (H, W) whose pixels touch by edges or corners."""
    numbers, _ = ndimage.label(mask, np.ones((3, 3)))
    return int((np.bincount(numbers.ravel())[1:] >= least).sum())
