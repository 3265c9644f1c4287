"""The image sheet of a fidelity evaluation: maps, reference and generated images of selected records."""

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
    """Indices of the highest, the median and the lowest score."""
    order = np.argsort(-scores, kind="stable")
    return int(order[0]), int(order[len(order) // 2]), int(order[-1])


def write_fidelity_sheet(
    url: str, reference: ReferenceSet, variants: NDArray[np.uint8], indices: Sequence[int]
) -> list[str]:
    """Draw one line per record: segmentation, lighting, reference image, generated variants.

    Args:
        url: PNG file or URL; overwritten.
        reference: The set that the images were generated from.
        variants: (records, variants, H, W, 3) uint8 generated images of its records.
        indices: Records to draw.

    Returns:
        Keys of the drawn records, line by line.
    """
    lines = [sheet_line([*map_tiles(reference, index), *variants[index]]) for index in indices]
    storage.overwrite(url, png_bytes(np.concatenate(lines)))
    return [reference.keys[index] for index in indices]


def map_tiles(reference: ReferenceSet, index: int) -> list[NDArray[np.uint8]]:
    """Segmentation, lighting and reference image of a record, (H, W, 3) uint8 each."""
    light = np.repeat(reference.light[index][..., None], 3, -1)
    return [colour_segmentation(reference.seg[index]), light, reference.photos[index]]


def sheet_line(tiles: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Images (H, W, 3) uint8 side by side, with margins."""
    return np.concatenate([_with_margin(tile) for tile in tiles], 1)


def _with_margin(tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(tile, ((0, _MARGIN), (0, _MARGIN), (0, 0)), constant_values=255)
