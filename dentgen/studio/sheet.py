"""A sheet of condition records: one picture in which every record lies beside all its maps.

Refuses to know how records were made.
"""

from __future__ import annotations

import colorsys
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dentgen import storage
from dentgen.conditions.decode import decode_record
from dentgen.conditions.prepare import condition_image, fit_record
from dentgen.conditions.raw import RawRecord, RecordRange
from dentgen.conditions.sources import index_shard, list_shards, read_records
from dentgen.errors import ConditionError, SpecError
from dentgen.records import CONDITION_MEMBER, ConditionRecord
from dentgen.seeding import numpy_generator

_FORMATS: Final = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_MARGIN: Final = 3


def write_sheet(source: str, out: str, *, count: int = 24, size: int = 96, columns: int = 2) -> int:
    """Draw some records of a source.

    Args:
        source: Condition shards, Parquet or a folder.
        out: PNG, JPEG or WebP, by its suffix.
        count: Records, at most.
        size: Edge of each picture, pixels.
        columns: Records side by side.

    Returns:
        Number of records drawn.

    Raises:
        SpecError: If ``out`` has no suffix of an image.
        ConditionError: If no record can be drawn, or one of those chosen is damaged.
    """
    kind = _FORMATS.get(PurePosixPath(out).suffix.lower())
    if kind is None:
        raise SpecError(f"{out}: found no suffix of an image, expected one of {', '.join(_FORMATS)}")
    strips = [_strip(raw, size) for raw in _chosen(source, count)]
    if not strips:
        raise ConditionError(source, "no record", "at least one to draw")
    buffer = io.BytesIO()
    Image.fromarray(_tile(strips, columns)).save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}))
    storage.put_latest(out, buffer.getvalue())
    return len(strips)


def _chosen(source: str, count: int) -> Iterator[RawRecord]:
    """Records drawn at random, always the same ones, in the source's order."""
    shards = list_shards(source)
    records = [(shard, place) for shard in shards for place in range(len(index_shard(shard, with_metadata=False).keys))]
    drawn = numpy_generator("sheet").permutation(len(records))[:count]
    for number in sorted(drawn.tolist()):
        shard, place = records[number]
        yield from islice(read_records(shard, RecordRange(place, place + 1)), 1)


def _strip(raw: RawRecord, size: int) -> NDArray[np.uint8]:
    """A record's photo and maps side by side, (size, n (size + margin), 3)."""
    present = [name for name, member in CONDITION_MEMBER.items() if f"{member}.png" in raw.members]
    record = fit_record(decode_record(raw, present, with_photo=True), size, "pad")
    images = [] if record.photo is None else [record.photo]
    images += [condition_image(record, name) for name in present]
    images[min(2, len(images)) : min(2, len(images))] = [_teeth(record)]
    margin = np.full((size, _MARGIN, 3), 255, np.uint8)
    return np.concatenate([part for image in images for part in (image, margin)], 1)


def _teeth(record: ConditionRecord) -> NDArray[np.uint8]:
    """FDI numbers as colours: a hue for every position, lighter on the patient's left; black where none is."""
    palette = np.zeros((256, 3), np.uint8)
    for number in range(11, 86):
        quadrant, position = divmod(number, 10)
        colour = colorsys.hls_to_rgb((position - 1) / 8, 0.62 if quadrant in {2, 3, 6, 7} else 0.42, 0.75)
        palette[number] = [round(255 * channel) for channel in colour]
    shape = record.shape if record.fdi is None else record.fdi.shape
    return palette[np.zeros(shape, np.uint8) if record.fdi is None else record.fdi]


def _tile(strips: list[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Strips in a grid on white; those with fewer maps are filled up."""
    height, width = strips[0].shape[0] + _MARGIN, max(strip.shape[1] for strip in strips) + 4 * _MARGIN
    rows = -(-len(strips) // columns)
    sheet = np.full((rows * height + _MARGIN, columns * width + _MARGIN, 3), 255, np.uint8)
    for number, strip in enumerate(strips):
        top, left = _MARGIN + number // columns * height, _MARGIN + number % columns * width
        sheet[top : top + strip.shape[0], left : left + strip.shape[1]] = strip
    return sheet
