"""The counts over a build's table of samples that the card and the Croissant metadata state."""

from __future__ import annotations

import heapq
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from dentgen.report.tally import DistinctValues, Tally
from dentgen.shards.sample_table import distinct_pairs, stream_samples

_EXAMPLE_PROMPTS: Final = 3
_COLUMNS: Final = ("source_key", "group", "split", "source_license", "prompt", "shard")


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """One split: its name in the source ("" if the source names none), written samples and their groups."""

    name: str
    samples: int
    groups: int


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """Counts over the written samples of a build.

    Attributes:
        records: Distinct condition records.
        groups: Distinct groups (patients, jaws).
        divided_groups: Groups with samples in more than one split, which a source should not have.
        splits: Splits by name.
        licenses: Licences as the sources write them ("" for none) with their samples, by name.
        prompts: Distinct prompts, a lower bound unless ``prompts_exact``.
        prompts_exact: Whether there were few enough prompts to count them all.
        some_prompts: A few of the prompts, the first in alphabetical order.
        shard_splits: Splits of the samples in each shard.
    """

    records: int = 0
    groups: int = 0
    divided_groups: int = 0
    splits: tuple[SplitSummary, ...] = ()
    licenses: tuple[tuple[str, int], ...] = ()
    prompts: int = 0
    prompts_exact: bool = True
    some_prompts: tuple[str, ...] = ()
    shard_splits: dict[str, tuple[str, ...]] = field(default_factory=dict)


def summarise(out: str) -> SampleSummary:
    """Count the written samples of a build.

    Memory grows with the number of shards, not with the number of samples.

    Args:
        out: The build.

    Raises:
        StorageError: If the table of samples cannot be read.
    """
    with closing(_Counts()) as counts:
        for batch in stream_samples(out, _COLUMNS):
            counts.add(batch.written)
        return counts.summary()


class _Counts:
    """Counts that grow as the table of samples streams by."""

    def __init__(self) -> None:
        self._records, self._groups = DistinctValues(), DistinctValues()
        self._splits, self._licenses, self._prompts = Tally(), Tally(), Tally()
        self._shard_splits: dict[str, tuple[str, ...]] = {}

    def add(self, written: pa.RecordBatch) -> None:
        self._records.add(written["source_key"], written["split"])
        self._groups.add(written["group"], written["split"])
        self._splits.add(written["split"])
        self._licenses.add(written["source_license"])
        self._prompts.add(written["prompt"])
        for shard, split in distinct_pairs(written["shard"], written["split"]):
            known = self._shard_splits.get(shard, ())
            if split not in known:
                self._shard_splits[shard] = tuple(sorted((*known, split)))

    def summary(self) -> SampleSummary:
        groups = self._groups.by_split()
        return SampleSummary(
            records=self._records.distinct,
            groups=self._groups.distinct,
            divided_groups=self._groups.divided,
            splits=tuple(
                SplitSummary(name, samples, groups[name]) for name, samples in sorted(self._splits.counts.items())
            ),
            licenses=tuple(sorted(self._licenses.counts.items())),
            prompts=self._prompts.distinct,
            prompts_exact=self._prompts.exact,
            some_prompts=tuple(heapq.nsmallest(_EXAMPLE_PROMPTS, self._prompts.counts)),
            shard_splits=self._shard_splits,
        )

    def close(self) -> None:
        self._records.close()
        self._groups.close()
