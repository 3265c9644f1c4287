"""What a document starts from: a stored condition record, a procedural mouth, or an empty canvas."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen import storage
from dentgen.conditions.decode import decode_record
from dentgen.conditions.lesion_map import with_findings_map
from dentgen.conditions.prepare import condition_image, control_image, fit_map, fit_record
from dentgen.conditions.readers.raw import ConditionShard, RawRecord, RecordRange, printable
from dentgen.conditions.readers.source import index_shard, list_shards, read_records
from dentgen.errors import ConditionError, SpecError
from dentgen.phantom.camera import View
from dentgen.phantom.render import render_patient
from dentgen.phantom.shards import phantom_members
from dentgen.records import ConditionName, ConditionRecord, MapArray
from dentgen.spec.build import BuildSpec

#: Records of a place that are listed; more are for a build, not for a person to look through.
MAX_LISTED: Final = 500
THUMBNAIL: Final = 96


@dataclass(frozen=True, slots=True)
class ListedRecord:
    """A record that can be opened: its key, shard, position in it, and byte range where the shard is a tar."""

    key: str
    shard: ConditionShard
    position: int
    byte_range: tuple[int, int] | None

    def read(self) -> RawRecord:
        """Its undecoded members.

        Raises:
            ConditionError: If it cannot be read.
        """
        before = 0 if self.byte_range else self.position
        wanted = RecordRange(self.position, self.position + 1, self.byte_range, before)
        for raw in read_records(self.shard, wanted):
            return raw
        raise ConditionError(f"{self.shard.place}: {self.key}", "nothing", "a record")


def list_records(place: str) -> list[ListedRecord]:
    """The first records of a place: shards, Parquet files, a folder of maps, or a finished build.

    Raises:
        ConditionError: If there are none.
        StorageError: If the place cannot be listed.
    """
    listed = list(itertools.islice(_records(place), MAX_LISTED))
    if not listed:
        raise ConditionError(place, "no record", "condition records")
    return listed


def _records(place: str) -> Iterator[ListedRecord]:
    for shard in list_shards(place, log=False):
        index = index_shard(shard, with_metadata=False)
        ends = list(zip(index.offsets, index.offsets[1:], strict=False))
        for position, key in enumerate(index.keys):
            yield ListedRecord(printable(key), shard, position, ends[position] if ends else None)


def opened(raw: RawRecord, spec: BuildSpec) -> ConditionRecord:
    """A record, decoded and fitted to the pictures of a spec, with its photo, which pictures may begin with.

    Raises:
        ConditionError: If it is damaged, or a map that the spec uses is missing.
    """
    record = decode_record(raw, spec.required_conditions, with_photo=True, with_painted=True)
    record = with_findings_map(record, spec.conditions.use)
    return fit_record(record, spec.conditions.shape, spec.conditions.fit)


def phantom(seed: int, view: View, spec: BuildSpec) -> ConditionRecord:
    """A view of a procedural mouth; every seed is another one.

    Raises:
        ConditionError: If the spec uses a map that phantoms do not have.
    """
    (rendered,) = render_patient(seed, 0, min(spec.conditions.shape), (view,))
    return opened(RawRecord(rendered.key, f"phantom {seed}", phantom_members(rendered)), spec)


def empty(spec: BuildSpec) -> ConditionRecord:
    """A record in which nothing is drawn."""
    shape = spec.conditions.shape
    names: set[ConditionName] = {"segmentation", "lighting", *spec.conditions.use}
    maps: dict[ConditionName, MapArray] = {name: _nothing(name, shape) for name in sorted(names)}
    return ConditionRecord(
        key="drawing", group="drawing", split="", prompt="intraoral dental photography", conditions=maps,
        fdi=np.zeros(shape, np.uint8), photo=None, license="", attributes={},
    )  # fmt: skip


def _nothing(name: ConditionName, shape: tuple[int, int]) -> MapArray:
    match name:
        case "normal":
            return np.zeros((*shape, 3), np.uint8)
        case "depth":
            return np.zeros(shape, np.uint16)
        case _:
            return np.full(shape, 128 if name == "curvature" else 0, np.uint8)


def thumbnail(raw: RawRecord) -> NDArray[np.uint8]:
    """A small picture (96, 96, 3) of a record's maps.

    Raises:
        ConditionError: If it cannot be decoded.
    """
    record = decode_record(raw, ())
    if not record.conditions:
        raise ConditionError(raw.place, "no map", "a condition record")
    both: tuple[ConditionName, ConditionName] = ("segmentation", "lighting")
    blended = set(both) <= record.conditions.keys()
    image = control_image(record, both, 0.4) if blended else condition_image(record, next(iter(record.conditions)))
    small: NDArray[np.uint8] = fit_map(image, (THUMBNAIL, THUMBNAIL), "pad", nearest=False, empty=0)
    return small


class Places:
    """Places that were listed, by number: the page names records by numbers alone."""

    def __init__(self) -> None:
        """Know of no place."""
        self._places: list[tuple[str, list[ListedRecord]]] = []

    def add(self, place: str) -> int:
        """List a place, again if it was added before; returns its number.

        Args:
            place: Folder or URL; "" for the first place.

        Raises:
            SpecError: If there is no first place.
            ConditionError: If there are no records.
            StorageError: If the place cannot be listed.
        """
        if not place:
            self._records(0)
            place = self._places[0][0]
        records = list_records(place)
        for number, (known, _) in enumerate(self._places):
            if known == place:
                self._places[number] = (place, records)
                return number
        self._places.append((place, records))
        return len(self._places) - 1

    def name(self, place: int) -> str:
        """Folder or URL of a place, without secrets."""
        self._records(place)
        return storage.without_secrets(self._places[place][0])

    def keys(self, place: int) -> list[str]:
        """Keys of a place's records."""
        return [record.key for record in self._records(place)]

    def record(self, place: int, record: int) -> ListedRecord:
        """A record by numbers.

        Raises:
            SpecError: If there is none.
        """
        records = self._records(place)
        if not 0 <= record < len(records):
            raise SpecError(key="record", found=record, expected=f"below {len(records)}")
        return records[record]

    def _records(self, place: int) -> list[ListedRecord]:
        if not 0 <= place < len(self._places):
            raise SpecError(key="place", found=place, expected=f"below {len(self._places)}")
        return self._places[place][1]
