"""Training rows: pictures, control images, labels and prompts, kept in memory or streamed from shards.

While a step computes, the rows of the next one are made, and the chunks of those after it read. Refuses to know models
and losses.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dentgen.conditions.decode import decode_record
from dentgen.conditions.labels import APPLIANCE, RESTORATION, TOOTH, mirror_record, tissue_classes
from dentgen.conditions.prepare import condition_image, control_image, fit_record
from dentgen.conditions.raw import ConditionShard, RawRecord, RecordRange
from dentgen.conditions.sources import index_shard, list_shards, read_records
from dentgen.errors import ConditionError
from dentgen.records import CONDITION_NAMES, ConditionName, ConditionRecord
from dentgen.training.order import Chunk, Place, RowOrder
from dentgen.training.spec import ControlKind, TrainSpec

#: Chunks of raw records that a stream keeps: the window it reads, and the next one as it begins.
_KEPT_CHUNKS: Final = 72
_READERS: Final = 16


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One record as a row shows it.

    Attributes:
        place: Where it is, and whether it is mirrored.
        photo: (H, W, 3) uint8.
        controls: Control images (H, W, 3) uint8 by kind.
        seg: (H, W) uint8 in three classes and ``IGNORE`` (``tissue_classes``).
        prompt: The record's; views swapped in a mirror image.
    """

    place: Place
    photo: NDArray[np.uint8]
    controls: Mapping[ControlKind, NDArray[np.uint8]]
    seg: NDArray[np.uint8]
    prompt: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are computed together.

    Attributes:
        step: Step they belong to; draws are named by step and row.
        first: Number of the first of them within the step.
        rows: The rows.
    """

    step: int
    first: int
    rows: Sequence[TrainingRow]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def photos(self) -> NDArray[np.uint8]:
        """(b, H, W, 3)."""
        return np.stack([row.photo for row in self.rows])

    @property
    def seg(self) -> NDArray[np.uint8]:
        """(b, H, W)."""
        return np.stack([row.seg for row in self.rows])


class Records(Protocol):
    """Where rows come from."""

    sizes: list[int]

    def record(self, place: Place) -> ConditionRecord:
        """The fitted record of a place, not mirrored."""

    def expect(self, chunks: Iterable[Chunk]) -> None:
        """Chunks that will be asked for next."""


class TrainingData:
    """Rows of a training run, by step."""

    def __init__(self, spec: TrainSpec, records: Records) -> None:
        """Order the records."""
        self._spec, self._records = spec, records
        self._order = RowOrder(records.sizes, spec.seed)
        self._ahead = ThreadPoolExecutor(1, "rows")
        self._next: dict[tuple[int, int, int], Future[Batch]] = {}

    def __len__(self) -> int:
        return self._order.records

    def batch(self, step: int, first: int, count: int) -> Batch:
        """Rows ``first`` to ``first + count`` of a step; the same ones of the next step are made in the meantime."""
        begun = self._next.pop((step, first, count), None)
        batch = begun.result() if begun else self._make(step, first, count)
        if self._spec.stream and step + 1 < self._spec.steps:
            self._next[step + 1, first, count] = self._ahead.submit(self._make, step + 1, first, count)
        return batch

    def _make(self, step: int, first: int, count: int) -> Batch:
        begin = step * self._spec.batch + first
        places = self._order.places(begin, count)
        self._records.expect(
            OrderedDict.fromkeys(place.chunk for place in self._order.places(begin, 4 * self._spec.batch))
        )
        return Batch(step, first, [training_row(place, self._records.record(place), self._spec) for place in places])


def training_row(place: Place, record: ConditionRecord, spec: TrainSpec) -> TrainingRow:
    """A record as a row, with the control images that the spec's recipe needs."""
    shown = mirror_record(record) if place.mirrored else record
    if shown.photo is None:
        raise ConditionError(record.key, "no photo member", "a picture to train on")
    seg = shown.conditions["segmentation"].astype(np.uint8)
    controls = {kind: _control(shown, kind, spec.alpha) for kind in spec.control_kinds}
    return TrainingRow(place, shown.photo, controls, tissue_classes(seg), shown.prompt)


def open_records(spec: TrainSpec, split: str) -> Records:
    """Records of a split, kept or streamed as the spec says.

    Raises:
        ConditionError: If there are none, or one cannot be used or has no picture.
    """
    shards = list_shards(spec.data)
    records: Records = StreamedRecords(shards, spec, split) if spec.stream else KeptRecords(shards, spec, split)
    if not sum(records.sizes):
        raise ConditionError(spec.data, f"no record of split {split!r}", "at least one")
    return records


class KeptRecords:
    """Every record of a split, decoded and in memory."""

    def __init__(self, shards: Sequence[ConditionShard], spec: TrainSpec, split: str) -> None:
        """Read them all."""
        self._records = [
            [record for record in _decoded(read_records(shard), spec) if split in {"", record.split}]
            for shard in tqdm(shards, desc="reading", unit="shard", mininterval=10)
        ]
        self.sizes = [len(records) for records in self._records]

    def record(self, place: Place) -> ConditionRecord:
        """The fitted record of a place, not mirrored."""
        return self._records[place.chunk.shard][place.position]

    def expect(self, chunks: Iterable[Chunk]) -> None:
        """Everything is here already."""


class StreamedRecords:
    """Records read chunk by chunk, in byte ranges where the format has them; raw chunks are kept for a while."""

    def __init__(self, shards: Sequence[ConditionShard], spec: TrainSpec, split: str) -> None:
        """Index the shards; a damaged one ends the run, because an order must name the same records every time."""
        self._shards, self._spec = shards, spec
        self._readers = ThreadPoolExecutor(_READERS, "chunks")
        indexing = self._readers.map(partial(index_shard, with_metadata=True), shards)
        indexes = list(tqdm(indexing, total=len(shards), desc="indexing", unit="shard", mininterval=10))
        for shard, index in zip(shards, indexes, strict=True):
            if index.problem:
                raise ConditionError(shard.url, index.problem, "a whole shard")
        self._positions = [
            [i for i, own in enumerate(index.splits or ()) if split in {"", own or ""}] for index in indexes
        ]
        self._offsets = [index.offsets for index in indexes]
        self.sizes = [len(positions) for positions in self._positions]
        self._chunks: OrderedDict[Chunk, Future[dict[int, RawRecord]]] = OrderedDict()
        self._lock = Lock()

    def record(self, place: Place) -> ConditionRecord:
        """The fitted record of a place, not mirrored."""
        raw = self._begun(place.chunk).result()[self._positions[place.chunk.shard][place.position]]
        return next(iter(_decoded([raw], self._spec)))

    def expect(self, chunks: Iterable[Chunk]) -> None:
        """Begin to read chunks."""
        for chunk in chunks:
            self._begun(chunk)

    def _begun(self, chunk: Chunk) -> Future[dict[int, RawRecord]]:
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


def _decoded(raws: Iterable[RawRecord], spec: TrainSpec) -> Iterable[ConditionRecord]:
    for raw in raws:
        record = decode_record(raw, conditions_of(spec.control_kinds), with_photo=True)
        if record.photo is None:
            raise ConditionError(raw.place, f"members {sorted(raw.members)}", "a photo member to train on")
        yield fit_record(record, spec.size, "pad")


def conditions_of(kinds: Iterable[ControlKind]) -> tuple[ConditionName, ...]:
    """Maps that control images are made of; segmentation always, because losses weigh by it."""
    wanted = {"segmentation"}
    for kind in kinds:
        wanted |= {"segmentation", "lighting"} if kind.startswith("blended") else {kind}
    return tuple(name for name in CONDITION_NAMES if name in wanted)


def drop_words(prompt: str, rng: np.random.Generator) -> str:
    """Leave out each attribute phrase at random, so that shorter prompts are known too."""
    head, *attributes = prompt.split(", ")
    fixed, free = attributes[:2], attributes[2:]
    kept = [phrase for phrase in free if rng.random() > 0.15]
    if rng.random() < 0.15:
        kept = [*kept[:-1], "clinical lighting"]
    return ", ".join([head, *fixed, *kept])


def _control(record: ConditionRecord, kind: ControlKind, alpha: float) -> NDArray[np.uint8]:
    match kind:
        case "blended":
            return control_image(record, ("segmentation", "lighting"), alpha)
        case "blended-teeth":
            seg, light = record.conditions["segmentation"], record.conditions["lighting"]
            on_teeth = np.isin(seg, [TOOTH, RESTORATION, APPLIANCE])
            bare = {**record.conditions, "lighting": np.where(on_teeth, light, 0).astype(np.uint8)}
            return control_image(replace(record, conditions=bare), ("segmentation", "lighting"), alpha)
        case _:
            return condition_image(record, kind)
