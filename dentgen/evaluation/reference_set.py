"""Phantoms that no model saw, as arrays: what pictures are measured against, and what judges learn from.

Each set is rendered once and kept in the work folder. Refuses to know what is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen import storage
from dentgen.conditions.decode import decode_record
from dentgen.conditions.labels import tissue_classes
from dentgen.conditions.readers.raw import RecordRange
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.phantom.shards import PhantomSet, write_phantoms
from dentgen.records import ConditionRecord
from dentgen.seeding import numpy_generator

#: Seeds that no training spec uses.
JUDGE_SEED: Final = 7001
TEST_SEED: Final = 7002
_SHARD_SIZE: Final = 40


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceSet:
    """Records of a phantom set, in the order of its shards.

    Attributes:
        source: Where their condition shards are.
        keys, groups, prompts: Of every record.
        photos: Reference pictures (n, H, W, 3).
        seg: Tissue classes (n, H, W).
        fdi, light: FDI numbers and lighting (n, H, W).
    """

    source: str
    keys: list[str]
    groups: list[str]
    prompts: list[str]
    photos: NDArray[np.uint8]
    seg: NDArray[np.uint8]
    fdi: NDArray[np.uint8]
    light: NDArray[np.uint8]

    def halves(self, split: int = 0) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indices of two halves of the records that share no mouth; another ``split``, other halves."""
        mouths = list(dict.fromkeys(self.groups))
        drawn = numpy_generator("halves", split).permutation(len(mouths))[: len(mouths) // 2]
        chosen = {mouths[place] for place in drawn}
        first = np.array([group in chosen for group in self.groups], bool)
        return np.flatnonzero(first), np.flatnonzero(~first)


def reference_set(work: str, count: int, seed: int, size: int, workers: int | None = None) -> ReferenceSet:
    """Records of ``count`` views of procedural jaws, rendered into ``work`` if they are not there yet."""
    source = storage.join(work, "phantoms", f"{seed}-{size}-{count}")
    write_phantoms(source, PhantomSet(count, seed, size, _SHARD_SIZE), workers)
    records = [
        decode_record(raw, ("segmentation", "lighting"), with_photo=True)
        for shard in list_shards(source)
        for raw in read_records(shard, RecordRange(0, count))
    ]
    return _stacked(source, records)


def _stacked(source: str, records: list[ConditionRecord]) -> ReferenceSet:
    return ReferenceSet(
        source=source,
        keys=[record.key for record in records],
        groups=[record.group for record in records],
        prompts=[record.prompt for record in records],
        photos=np.stack([record.photo for record in records if record.photo is not None]),
        seg=tissue_classes(np.stack([record.conditions["segmentation"] for record in records]).astype(np.uint8)),
        fdi=np.stack([record.fdi for record in records if record.fdi is not None]),
        light=np.stack([record.conditions["lighting"] for record in records]).astype(np.uint8),
    )
