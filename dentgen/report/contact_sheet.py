"""The contact sheet of a build: one PNG with a row per record, its conditions before the pictures generated from it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen import storage
from dentgen.documents.index import DatasetIndex
from dentgen.records import COMPOSITE_MEDIA
from dentgen.report.html.pictures import decode_picture, draw_conditions
from dentgen.shards.layout import CONTACT_SHEET
from dentgen.shards.reader import read_samples
from dentgen.shards.tar import png_bytes

_MAX_RECORDS: Final = 16
_MAX_COLUMNS: Final = 8
_MARGIN: Final = 4


def write_contact_sheet(out: str, index: DatasetIndex | None = None) -> str:
    """Draw the first records of a build.

    Args:
        out: The build.
        index: Index of the version to draw; None: the latest.

    Returns:
        URL of the sheet.

    Raises:
        StorageError: If the build has not been sealed or a shard is missing.
        BuildError: If a shard is damaged.
    """
    lines: dict[str, list[NDArray[np.uint8]]] = {}
    for key, members in read_samples(out, index):
        source = key.rsplit("-v", 1)[0]
        if source not in lines:
            if len(lines) == _MAX_RECORDS:
                break
            lines[source] = [np.asarray(image.convert("RGB")) for image in draw_conditions(members).values()]
        if len(lines[source]) < _MAX_COLUMNS:
            lines[source].append(decode_picture(members))
    url = storage.join(out, CONTACT_SHEET)
    storage.overwrite(url, png_bytes(_sheet(list(lines.values())), COMPOSITE_MEDIA))
    return url


def _sheet(lines: list[list[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Tile the records, two side by side if there are many, so that the sheet stays about square."""
    if not lines:
        return np.full((8, 8, 3), 255, np.uint8)
    height, width = lines[0][0].shape[:2]
    columns = max(len(line) for line in lines)
    side_by_side = 2 if len(lines) > 8 else 1
    rows = -(-len(lines) // side_by_side)
    sheet = np.full(
        (rows * (height + _MARGIN) + _MARGIN, side_by_side * (columns * (width + _MARGIN) + _MARGIN), 3), 255, np.uint8
    )
    for number, line in enumerate(lines):
        top = _MARGIN + (number // side_by_side) * (height + _MARGIN)
        start = (number % side_by_side) * (columns * (width + _MARGIN) + _MARGIN) + _MARGIN
        for column, image in enumerate(line):
            left = start + column * (width + _MARGIN)
            sheet[top : top + height, left : left + width] = image
    return sheet
