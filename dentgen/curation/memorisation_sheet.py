"""A sheet of generated pictures beside their nearest training pictures, a pair a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.prepare import fit_map
from dentgen.curation.memorisation import Neighbours
from dentgen.curation.pictures import read_pictures
from dentgen.records import COMPOSITE_MEDIA
from dentgen.shards.tar import png_bytes

_MARGIN: Final = 4


def write_pair_sheet(file: Path, pairs: Sequence[Neighbours], out: str, training: str) -> None:
    """Draw pairs side by side: on the left the generated picture, on the right the training picture at its size.

    Args:
        file: PNG file.
        pairs: The pairs, from top to bottom.
        out: The build.
        training: What its model was trained on.

    Raises:
        StorageError: If a picture cannot be read.
    """
    left = _pictures(out, [pair.generated for pair in pairs])
    right = _pictures(training, [pair.training for pair in pairs])
    rows = [_row(left[pair.generated], right[pair.training]) for pair in pairs]
    file.write_bytes(png_bytes(_stacked(rows), COMPOSITE_MEDIA))


def _pictures(place: str, keys: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
    return {picture.key: picture.pixels for picture in read_pictures(place, keys)}


def _row(generated: NDArray[np.uint8], training: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = generated.shape[:2]
    row = np.full((height, 2 * width + _MARGIN, 3), 255, np.uint8)
    row[:, :width] = generated
    row[:, width + _MARGIN :] = fit_map(training, (height, width), "pad", nearest=False, empty=0)
    return row


def _stacked(rows: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Rows below each other, with a white margin around each."""
    if not rows:
        return np.full((8, 8, 3), 255, np.uint8)
    width = max(row.shape[1] for row in rows)
    margin = ((_MARGIN, 0), (_MARGIN, _MARGIN), (0, 0))
    wide = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    sheet = np.concatenate([np.pad(row, margin, constant_values=255) for row in wide])
    return np.pad(sheet, ((0, _MARGIN), (0, 0), (0, 0)), constant_values=255)
