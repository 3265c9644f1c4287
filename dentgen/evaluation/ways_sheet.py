"""The picture sheet of a comparison of ways: the same records, drawn by each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dentgen import storage
from dentgen.evaluation.fidelity_sheet import map_tiles, sheet_line
from dentgen.evaluation.reference_set import ReferenceSet
from dentgen.shards.tar import png_bytes


def write_ways_sheet(
    url: str, reference: ReferenceSet, pictures: Mapping[str, NDArray[np.uint8]], records: int
) -> None:  # fmt: skip
    """Draw one line per record: segmentation, lighting, reference picture, a picture of every way, in their order.

    Args:
        url: PNG file or URL; overwritten.
        reference: The set that the pictures were generated from.
        pictures: By way, (records, H, W, 3) uint8.
        records: Records to draw, spread evenly over the set.
    """
    count = min(records, len(reference.keys))
    chosen = np.linspace(0, len(reference.keys) - 1, count).round().astype(int)
    lines = [
        sheet_line([*map_tiles(reference, index), *(shown[index] for shown in pictures.values())]) for index in chosen
    ]
    storage.overwrite(url, png_bytes(np.concatenate(lines)))
