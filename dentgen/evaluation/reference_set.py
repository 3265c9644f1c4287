"""Phantoms that no model was trained on, as arrays: test images, and training data of the judges.

Each set is rendered once and cached in the work folder.
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
    """Records of a phantom set, in shard order.

    Attributes:
        source: Folder or URL of the condition shards.
        keys, groups, prompts: One per record; a group is a mouth.
        photos: (n, H, W, 3) uint8 reference images.
        seg: (n, H, W) uint8 tissue classes.
        fdi, light: (n, H, W) uint8 FDI numbers and lighting.
        classes: (n, H, W) uint8 classes as labelled, ``SEG_CLASSES``.
    """

    source: str
    keys: list[str]
    groups: list[str]
    prompts: list[str]
    photos: NDArray[np.uint8]
    seg: NDArray[np.uint8]
    fdi: NDArray[np.uint8]
    light: NDArray[np.uint8]
    classes: NDArray[np.uint8]

    def halves(self, split: int = 0) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Split the records at random into two halves that share no mouth.

        Args:
            split: Number of the random split.

        Returns:
            Ascending indices of both halves, half of the mouths each, rounded down in the first.
        """
        mouths = list(dict.fromkeys(self.groups))
        drawn = numpy_generator("halves", split).permutation(len(mouths))[: len(mouths) // 2]
        chosen = {mouths[index] for index in drawn}
        first = np.array([group in chosen for group in self.groups], bool)
        return np.flatnonzero(first), np.flatnonzero(~first)


def reference_set(work: str, count: int, seed: int, size: int, workers: int | None = None) -> ReferenceSet:
    """Read a set of procedural jaws, after rendering what ``work`` does not hold yet.

    Args:
        work: Folder or URL that caches sets.
        count: Records.
        seed: Seed of the set.
        size: Edge of images and maps, pixels.
        workers: Rendering processes; None uses all cores.
    """
    source = storage.join(work, "phantoms", f"{seed}-{size}-{count}")
    write_phantoms(source, PhantomSet(count, seed, size, _SHARD_SIZE), workers)
    records = [
        decode_record(raw, ("segmentation", "lighting"), with_photo=True)
        for shard in list_shards(source)
        for raw in read_records(shard, RecordRange(0, count))
    ]
    return _stack(source, records)


def _stack(source: str, records: list[ConditionRecord]) -> ReferenceSet:
    classes = np.stack([record.conditions["segmentation"] for record in records]).astype(np.uint8)
    return ReferenceSet(
        source=source,
        keys=[record.key for record in records],
        groups=[record.group for record in records],
        prompts=[record.prompt for record in records],
        photos=np.stack([record.photo for record in records if record.photo is not None]),
        seg=tissue_classes(classes),
        fdi=np.stack([record.fdi for record in records if record.fdi is not None]),
        light=np.stack([record.conditions["lighting"] for record in records]).astype(np.uint8),
        classes=classes,
    )
