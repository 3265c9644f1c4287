"""Series of condition records, read with reference pictures and motion, to be compared frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen import storage
from dentgen.conditions.decode import decode_record
from dentgen.conditions.metadata import frame_of, read_metadata
from dentgen.conditions.prepare import fit_record
from dentgen.conditions.readers.raw import ConditionShard, RawRecord
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.documents.conditions import ConditionMetadata
from dentgen.errors import ConditionError
from dentgen.quality.frame_agreement import Places, places_of, undone
from dentgen.records import ConditionRecord
from dentgen.spec.build import BuildSpec

#: A series that is shorter cannot be divided into quarters.
_LEAST_FRAMES: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Frames of one mouth in their order.

    Attributes:
        frames: Records, fitted to the spec's size, with reference pictures.
        places: Where the points of the first frame lie in each.
        references: Reference picture of every frame.
        aligned_references: They, with the motion undone.
    """

    frames: tuple[ConditionRecord, ...]
    places: tuple[Places, ...]
    references: tuple[NDArray[np.uint8], ...]
    aligned_references: tuple[NDArray[np.float64], ...]

    @property
    def moves(self) -> bool:
        """Whether every frame knows its motion."""
        return all(frame.motion is not None for frame in self.frames)


def read_series(source: str, spec: BuildSpec) -> Iterator[Series]:
    """Every series of a source, in the order of their first records, one in memory at a time.

    Raises:
        ConditionError: If there is none, a frame lacks its reference picture, or a number is missing or there twice.
    """
    shards = _shards_by_series(source)
    if not shards:
        raise ConditionError(storage.without_secrets(source), "no series", "records with series and frame")
    for name, holding in shards.items():
        yield _series(name, [*_frames(name, holding, spec)])


def _shards_by_series(source: str) -> dict[str, list[ConditionShard]]:
    """Shards that hold frames of each series, by the metadata alone."""
    found: dict[str, list[ConditionShard]] = {}
    for shard in list_shards(source):
        names = dict.fromkeys(name for name, _, _ in _named(shard) if name is not None)
        for name in names:
            found.setdefault(name, []).append(shard)
    return found


def _frames(name: str, shards: Sequence[ConditionShard], spec: BuildSpec) -> Iterator[ConditionRecord]:
    """Frames of one series, fitted; records of others are not decoded."""
    for shard in shards:
        for series, raw, metadata in _named(shard):
            if series == name:
                record = decode_record(
                    raw, ("segmentation", "lighting"), with_photo=True, with_motion=True, with_frame=True,
                    metadata=metadata,
                )  # fmt: skip
                yield fit_record(record, spec.conditions.shape, spec.conditions.fit)


def _named(shard: ConditionShard) -> Iterator[tuple[str | None, RawRecord, ConditionMetadata]]:
    """Records of a shard with the name of their series, None without one, and their metadata."""
    for raw in read_records(shard):
        if raw.problem is not None:
            raise raw.problem
        metadata = read_metadata(raw.place, raw.members.get("json"))
        frame = frame_of(raw.place, metadata)
        yield None if frame is None else frame.series, raw, metadata


def _series(name: str, records: Sequence[ConditionRecord]) -> Series:
    ordered = sorted(records, key=_number)
    numbers = [*map(_number, ordered)]
    if numbers != [*range(len(numbers))] or len(numbers) < _LEAST_FRAMES:
        expected = f"frames from 0, at least {_LEAST_FRAMES}, every number once"
        raise ConditionError(f"series {name}", f"frames {numbers}", expected)
    photos = tuple(record.photo for record in ordered if record.photo is not None)
    if len(photos) < len(ordered):
        raise ConditionError(f"series {name}", "a frame without a photo", "reference pictures of all frames")
    places = tuple(places_of(record.motion, record.shape) for record in ordered)
    return Series(tuple(ordered), places, photos, tuple(undone(photos, places)))


def _number(record: ConditionRecord) -> int:
    return -1 if record.frame is None else record.frame.number
