"""Records of a training run's split, kept in memory or streamed from shards chunk by chunk."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Final, Protocol

from tqdm import tqdm

from dentgen.conditions.decode import decode_record
from dentgen.conditions.prepare import fit_record
from dentgen.conditions.readers.raw import ConditionShard, RawRecord, RecordRange, short
from dentgen.conditions.readers.source import index_shard, list_shards, read_records
from dentgen.errors import ConditionError
from dentgen.records import CONDITION_NAMES, ConditionName, ConditionRecord
from dentgen.spec.train import TrainSpec
from dentgen.spec.train_sections import ControlKind
from dentgen.training.data.order import Chunk, Place

_LOG = logging.getLogger(__name__)
#: Chunks of raw records that a stream keeps: the window it reads and the start of the next one.
_KEPT_CHUNKS: Final = 72
_READERS: Final = 16


class Records(Protocol):
    """Random access to the records of a split.

    Attributes:
        sizes: Records per shard.
        keys: Their keys.
    """

    sizes: list[int]
    keys: list[list[str]]

    def record(self, place: Place) -> ConditionRecord:
        """The record at a place, fitted to the image size, not mirrored."""

    def prefetch(self, chunks: Iterable[Chunk]) -> None:
        """Start to read chunks that will be needed next."""


def open_records(spec: TrainSpec, split: str | None) -> Records:
    """Open the records of a split (None: all), in memory or streamed as the spec says.

    Raises:
        ConditionError: If there are none, or one cannot be used or has no photo.
    """
    shards = list_shards(spec.source.path)
    records: Records = StreamedRecords(shards, spec, split) if spec.stream else KeptRecords(shards, spec, split)
    wanted = "" if split is None else f" of split {split!r}"
    if not sum(records.sizes):
        raise ConditionError(spec.source.path, f"no record{wanted}", "at least one")
    _LOG.info("%s: %d records%s in %d shards", spec.source.path, sum(records.sizes), wanted, len(shards))
    return records


class KeptRecords:
    """Every record of a split, decoded and in memory."""

    def __init__(self, shards: Sequence[ConditionShard], spec: TrainSpec, split: str | None) -> None:
        """Read them all, several shards at a time; decoding images leaves Python's lock."""
        with ThreadPoolExecutor(_READERS, "shards") as readers:
            decoded = readers.map(lambda shard: list(_decode(read_records(shard), spec, split)), shards)
            self._records = list(tqdm(decoded, total=len(shards), desc="reading", unit="shard", disable=None))
        self.sizes = [len(records) for records in self._records]
        self.keys = [[record.key for record in records] for records in self._records]

    def record(self, place: Place) -> ConditionRecord:
        """The record at a place, fitted to the image size, not mirrored."""
        return self._records[place.chunk.shard][place.position]

    def prefetch(self, chunks: Iterable[Chunk]) -> None:
        """No-op: everything is in memory."""


class StreamedRecords:
    """Records read chunk by chunk, by byte range where the format allows; recent raw chunks are cached."""

    def __init__(self, shards: Sequence[ConditionShard], spec: TrainSpec, split: str | None) -> None:
        """Index the shards.

        Raises:
            ConditionError: If a shard is damaged or metadata cannot be read; the order of rows must not depend on it.
        """
        self._shards, self._spec = shards, spec
        self._readers = ThreadPoolExecutor(_READERS, "chunks")
        indexing = self._readers.map(partial(index_shard, with_metadata=True), shards)
        indexes = list(tqdm(indexing, total=len(shards), desc="indexing", unit="shard", disable=None))
        for shard, index in zip(shards, indexes, strict=True):
            if index.problem:
                raise ConditionError(shard.place, index.problem, "a whole shard")
            unread = [key for key, own in zip(index.keys, index.splits or (), strict=True) if own is None]
            if unread:
                place = f"{shard.place}: {short(unread[0])}.json"
                raise ConditionError(place, "unreadable metadata", "a JSON object that may name a split")
        self._positions = [[i for i, own in enumerate(index.splits or ()) if split in {None, own}] for index in indexes]
        self._offsets = [index.offsets for index in indexes]
        self.sizes = [len(positions) for positions in self._positions]
        self.keys = [
            [index.keys[i] for i in positions] for index, positions in zip(indexes, self._positions, strict=True)
        ]
        self._chunks: OrderedDict[Chunk, Future[dict[int, RawRecord]]] = OrderedDict()
        self._lock = Lock()

    def record(self, place: Place) -> ConditionRecord:
        """The record at a place, fitted to the image size, not mirrored."""
        raw = self._chunk(place.chunk).result()[self._positions[place.chunk.shard][place.position]]
        return next(_decode([raw], self._spec))

    def prefetch(self, chunks: Iterable[Chunk]) -> None:
        """Start to read chunks."""
        for chunk in chunks:
            self._chunk(chunk)

    def _chunk(self, chunk: Chunk) -> Future[dict[int, RawRecord]]:
        with self._lock:
            if chunk not in self._chunks:
                self._chunks[chunk] = self._readers.submit(self._read, chunk)
            self._chunks.move_to_end(chunk)
            while len(self._chunks) > _KEPT_CHUNKS:
                self._chunks.popitem(last=False)
            return self._chunks[chunk]

    def _read(self, chunk: Chunk) -> dict[int, RawRecord]:
        positions = self._positions[chunk.shard][chunk.start : chunk.stop]
        offsets = self._offsets[chunk.shard]
        start, stop = positions[0], positions[-1] + 1
        byte_range = (offsets[start], offsets[stop]) if offsets else None
        wanted = RecordRange(start, stop, byte_range)
        return dict(enumerate(read_records(self._shards[chunk.shard], wanted), start))


def _decode(raws: Iterable[RawRecord], spec: TrainSpec, split: str | None = None) -> Iterator[ConditionRecord]:
    """Decoded and fitted records of a split."""
    for raw in raws:
        record = decode_record(raw, conditions_of(spec.control_kinds), with_photo=True)
        if split not in {None, record.split}:
            continue
        if record.photo is None:
            raise ConditionError(raw.place, f"members {sorted(raw.members)}", "a photo member to train on")
        yield fit_record(record, (spec.conditions.size, spec.conditions.size), "pad")


def conditions_of(kinds: Iterable[ControlKind]) -> tuple[ConditionName, ...]:
    """Conditions that control images are composed of; always segmentation, because losses weigh by it."""
    wanted = {"segmentation"}
    for kind in kinds:
        match kind:
            case "blended" | "blended-teeth":
                wanted |= {"lighting"}
            case "findings":
                wanted |= {"lighting", "findings"}
            case _:
                wanted.add(kind)
    return tuple(name for name in CONDITION_NAMES if name in wanted)
