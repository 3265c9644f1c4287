"""The picture beside the figures: best, median and worst record, maps and reference beside what was made of them.

Refuses to know how records were ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen import storage
from dentgen.conditions.labels import colour_segmentation
from dentgen.evaluation.reference_set import ReferenceSet
from dentgen.shards.tar import png_bytes

_MARGIN: Final = 4


def best_median_worst(scores: NDArray[np.float64]) -> tuple[int, int, int]:
    """Places of the highest, the middle and the lowest score."""
    order = np.argsort(-scores, kind="stable")
    return int(order[0]), int(order[len(order) // 2]), int(order[-1])


def write_fidelity_sheet(
    url: str, reference: ReferenceSet, variants: NDArray[np.uint8], places: Sequence[int]
) -> list[str]:
    """Draw records of a set, a line each: segmentation, lighting, reference picture, generated variants.

    Args:
        url: PNG, replaced if it is there.
        reference: The set.
        variants: (n, variants, H, W, 3) generated pictures of its records.
        places: Which records.

    Returns:
        Keys of the records, line by line.
    """
    lines = []
    for place in places:
        light = np.repeat(reference.light[place][..., None], 3, -1)
        tiles = [colour_segmentation(reference.seg[place]), light, reference.photos[place], *variants[place]]
        lines.append(np.concatenate([_framed(tile) for tile in tiles], 1))
    storage.overwrite(url, png_bytes(np.concatenate(lines)))
    return [reference.keys[place] for place in places]


def _framed(tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(tile, ((0, _MARGIN), (0, _MARGIN), (0, 0)), constant_values=255)
