"""The record sheet: one picture of condition records, each as a strip of its photo and maps."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dentgen import storage
from dentgen.conditions.decode import decode_record
from dentgen.conditions.labels import FDI_NUMBERS
from dentgen.conditions.prepare import condition_image, fit_record
from dentgen.conditions.readers.raw import ConditionShard, RawRecord, RecordRange
from dentgen.conditions.readers.source import index_shard, list_shards, read_records
from dentgen.errors import ConditionError, SpecError
from dentgen.records import CONDITION_MEMBER, PILLOW_FORMAT, ConditionRecord
from dentgen.seeding import numpy_generator
from dentgen.storage.overlap import require_apart

_FORMATS: Final = {**{f".{name}": kind for name, kind in PILLOW_FORMAT.items()}, ".jpeg": PILLOW_FORMAT["jpg"]}
_MARGIN: Final = 3


def write_sheet(source: str, out: str, *, count: int = 24, size: int = 96, columns: int = 2) -> list[str]:
    """Draw a random but reproducible selection of a source's records.

    Args:
        source: Condition shards, Parquet or a folder.
        out: Picture to write, in the format of its suffix.
        count: Maximum number of records.
        size: Edge of each picture, pixels.
        columns: Number of records side by side.

    Returns:
        Keys of the drawn records, row by row.

    Raises:
        SpecError: If ``out`` does not have the suffix of an image, or lies in a folder of loose records.
        ConditionError: If a chosen shard or record is damaged, or a record has no map.
    """
    suffix = PurePosixPath(out).suffix
    kind = _FORMATS.get(suffix.lower())
    if kind is None:
        raise SpecError(file=out, found=f"suffix '{suffix}'", expected=f"one of {', '.join(_FORMATS)}")
    if any(shard.kind == "folder" for shard in list_shards(source, log=False)):
        require_apart("OUT", out, "SOURCE", source)  # the picture would replace a map, or become a record
    records = [_drawable(raw, size) for raw in _chosen(source, count)]
    strips = [_strip(record, _columns(records), size) for record in records]
    buffer = io.BytesIO()
    Image.fromarray(_tile(strips, columns)).save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}))
    storage.overwrite(out, buffer.getvalue())
    return [record.key for record in records]


def _chosen(source: str, count: int) -> Iterator[RawRecord]:
    """Random records in the source's order, the same on every call; reads at most ``count`` shards."""
    shards, rng = list_shards(source), numpy_generator("sheet")
    chosen = sorted(rng.permutation(len(shards))[:count].tolist())
    places = [(shards[number], position) for number in chosen for position in range(_num_records(shards[number]))]
    for number in sorted(rng.permutation(len(places))[:count].tolist()):
        shard, position = places[number]
        yield from read_records(shard, RecordRange(position, position + 1))


def _num_records(shard: ConditionShard) -> int:
    index = index_shard(shard, with_metadata=False)
    if index.problem:
        raise ConditionError(shard.place, index.problem, "a shard that can be read to its end")
    return len(index.keys)


def _drawable(raw: RawRecord, size: int) -> ConditionRecord:
    present = [name for name, member in CONDITION_MEMBER.items() if f"{member}.png" in raw.members]
    if not present:
        raise ConditionError(raw.place, f"members {sorted(raw.members)}", "at least one map to draw")
    return fit_record(decode_record(raw, present, with_photo=True, with_motion=True), (size, size), "pad")


def _columns(records: list[ConditionRecord]) -> list[str]:
    """Photo, maps and motion that at least one record has, in the order of the sheet."""
    present: set[str] = {name for record in records for name in record.conditions}
    present |= {"photo" for record in records if record.photo is not None}
    present |= {"fdi" for record in records if record.fdi is not None}
    present |= {"motion" for record in records if record.motion is not None}
    return [name for name in ("photo", "segmentation", "fdi", *CONDITION_MEMBER, "motion") if name in present]


def _strip(record: ConditionRecord, columns: list[str], size: int) -> NDArray[np.uint8]:
    """A record's photo and maps side by side, (size, n (size + margin), 3); white where one is missing."""
    names = list(dict.fromkeys(columns))
    margin = np.full((size, _MARGIN, 3), 255, np.uint8)
    return np.concatenate([part for name in names for part in (_picture(record, name, size), margin)], 1)


def _picture(record: ConditionRecord, name: str, size: int) -> NDArray[np.uint8]:
    if name == "photo" and record.photo is not None:
        return record.photo
    if name == "fdi" and record.fdi is not None:
        return _teeth(record.fdi)
    if name == "motion" and record.motion is not None:
        return _motion(record.motion)
    for condition in record.conditions:
        if condition == name:
            return condition_image(record, condition)
    return np.full((size, size, 3), 255, np.uint8)


def _teeth(fdi: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """FDI numbers in colour: hue by position, lighter on the patient's left, less saturated in the lower jaw."""
    palette = np.zeros((256, 3), np.uint8)
    for number in FDI_NUMBERS:
        quadrant, position = divmod(number, 10)
        lightness, saturation = 0.66 if quadrant in {2, 3, 6, 7} else 0.44, 0.45 if quadrant in {3, 4, 7, 8} else 0.85
        palette[number] = [round(255 * c) for c in colorsys.hls_to_rgb((position - 1) / 8, lightness, saturation)]
    return palette[fdi]


def _motion(motion: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A motion in colour: grey where nothing moves, hue by direction, the more saturated the farther; black: hidden."""
    right, down = np.moveaxis(np.nan_to_num(motion.astype(np.float64)), -1, 0)
    angles = np.deg2rad([0, 120, 240])
    pull = right[..., None] * np.cos(angles) + down[..., None] * np.sin(angles)
    farthest = max(1.0, float(np.hypot(right, down).max()))
    colour: NDArray[np.uint8] = (128 + 127 * pull / farthest).astype(np.uint8)
    return np.where(np.isnan(motion).any(-1, keepdims=True), np.uint8(0), colour)


def _tile(strips: list[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Strips in a grid on a white background."""
    height, width = strips[0].shape[0] + _MARGIN, strips[0].shape[1] + 4 * _MARGIN
    rows = -(-len(strips) // columns)
    sheet = np.full((rows * height + _MARGIN, columns * width + _MARGIN, 3), 255, np.uint8)
    for number, strip in enumerate(strips):
        top, left = _MARGIN + number // columns * height, _MARGIN + number % columns * width
        sheet[top : top + strip.shape[0], left : left + strip.shape[1]] = strip
    return sheet
