"""What a build's table of samples comes to: the numbers that the card and Croissant state.

Refuses to know how they are worded.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

_PROMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """One split: its name as the source has it ("" if it names none), written samples and their groups."""

    name: str
    samples: int
    groups: int


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """The written samples of a build, counted.

    Attributes:
        records: Distinct condition records.
        groups: Distinct groups (patients, jaws).
        divided_groups: Groups that stand in more than one split, which a source should not have.
        splits: Splits by name.
        licenses: Licences of the sources as they are written there ("" for none) with their samples, by name.
        prompts: Distinct prompts.
        some_prompts: A few of them, the first by name.
        shard_splits: Splits of the samples in each shard.
    """

    records: int = 0
    groups: int = 0
    divided_groups: int = 0
    splits: tuple[SplitSummary, ...] = ()
    licenses: tuple[tuple[str, int], ...] = ()
    prompts: int = 0
    some_prompts: tuple[str, ...] = ()
    shard_splits: dict[str, tuple[str, ...]] = field(default_factory=dict)


def summarise(table: pa.Table) -> SampleSummary:
    """Count the written samples of a build.

    Args:
        table: Rows of ``samples.parquet``, in any order.
    """
    written = table.filter(pc.equal(table["status"], "written"))
    samples, licenses = dict(_counted(written, "split")), _counted(written, "source_license")
    groups = Counter(split for split, _, _ in _counted(written, "split", "group"))
    splits_of_group = Counter(group for group, _, _ in _counted(written, "group", "split"))
    prompts = [prompt for prompt, _ in _counted(written, "prompt")]
    shard_splits: dict[str, tuple[str, ...]] = {}
    for shard, split, _ in _counted(written, "shard", "split"):
        shard_splits[shard] = (*shard_splits.get(shard, ()), split)
    return SampleSummary(
        records=len(_counted(written, "source_key")),
        groups=len(splits_of_group),
        divided_groups=sum(number > 1 for number in splits_of_group.values()),
        splits=tuple(SplitSummary(name, number, groups[name]) for name, number in samples.items()),
        licenses=tuple(licenses),
        prompts=len(prompts),
        some_prompts=tuple(prompts[:_PROMPTS]),
        shard_splits=shard_splits,
    )


def _counted(table: pa.Table, *columns: str) -> list[tuple[Any, ...]]:
    """Distinct values of columns with the number of their rows, sorted; a build may have millions of rows."""
    found = table.group_by(list(columns)).aggregate([([], "count_all")]).to_pydict()
    return sorted(zip(*(found[name] for name in (*columns, "count_all")), strict=True))
