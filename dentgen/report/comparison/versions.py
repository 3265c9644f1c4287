"""What a later version of a build has more, or other, than an earlier one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

import numpy as np

from dentgen.documents.index import DatasetIndex
from dentgen.documents.ledger import LedgerRecord
from dentgen.records import ATTRIBUTES
from dentgen.shards.index_reader import read_version
from dentgen.shards.ledger_table import read_records
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import read_plan

#: Values of an attribute that are listed.
_MOST: Final = 8


@dataclass(frozen=True, slots=True)
class VersionDifference:
    """Two versions of one build, the earlier one first.

    Attributes:
        first, second: Their indexes.
        added: Shards that only the later one has.
        left_out: Shards that only the earlier one has.
        retired: Units of the earlier one that the later one leaves out.
        samples: Written samples that were added.
        counts: Of those, samples by value of each attribute and of the split, where any is known.
    """

    first: DatasetIndex
    second: DatasetIndex
    added: int
    left_out: int
    retired: tuple[int, ...]
    samples: int
    counts: dict[str, dict[str, int]]

    def lines(self) -> Iterator[str]:
        """A summary for the console."""
        for index in (self.first, self.second):
            size = sum(shard.bytes for shard in index.shards)
            yield (
                f"version {index.version}: {index.written} samples in {len(index.shards)} shards, {size} bytes, "
                f"{index.rejected} rejected"
            )
        yield f"added: {self.samples} samples in {self.added} shards"
        if self.retired:
            yield f"left out: {len(self.retired)} units, {self.left_out} shards, first unit {self.retired[0]:06d}"
        for name, values in self.counts.items():
            ranked = sorted(values.items(), key=lambda item: (-item[1], item[0]))
            listed = ", ".join(f"{value or 'not named'} {count}" for value, count in ranked[:_MOST])
            more = f" and {len(ranked) - _MOST} more" if len(ranked) > _MOST else ""
            yield f"added by {name}: {listed}{more}"


def compare_versions(out: str, first: int, second: int) -> VersionDifference:
    """Compare two versions of a build, by their indexes and the commit records of what was added.

    Args:
        out: The build.
        first: A version.
        second: Another one; the earlier one is taken as the first.

    Raises:
        SpecError: If there is no such version.
        StorageError: If an index or record cannot be read.
        BuildError: If the plan is damaged.
    """
    indexes = [read_version(out, version) for version in sorted((first, second))]
    names = [{shard.name for shard in index.shards} for index in indexes]
    earlier, later = (read_plan(out, index.version) for index in indexes)
    samples, counts = _counted(read_records(out, _between(earlier, later)))
    return VersionDifference(
        first=indexes[0],
        second=indexes[1],
        added=len(names[1] - names[0]),
        left_out=len(names[0] - names[1]),
        retired=tuple(np.setdiff1d(earlier.units.ids, later.units.ids).tolist()),
        samples=samples,
        counts=counts,
    )


def _between(earlier: Plan, later: Plan) -> Plan:
    """The later plan with only those units that the earlier one lacks."""
    return replace(later, units=later.units.between(earlier.total_units, 2**63 - 1))


def _counted(records: Iterator[LedgerRecord]) -> tuple[int, dict[str, dict[str, int]]]:
    counts = {name: Counter[str]() for name in ("split", *ATTRIBUTES)}
    samples = 0
    for sample in chain.from_iterable(record.samples for record in records):
        if sample.status == "written":
            samples += 1
            counts["split"][sample.split] += 1
            for name in ATTRIBUTES:
                counts[name][sample.attributes.get(name, "")] += 1
    return samples, {name: dict(values) for name, values in counts.items() if any(values)}
