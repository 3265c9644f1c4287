"""Verification of a build: every committed byte against the ledger, the plan and the schemas."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dentgen import storage
from dentgen.documents import DatasetIndex, LedgerRecord, Unit
from dentgen.errors import StorageError
from dentgen.shards import layout
from dentgen.shards.index import IndexBuilder, read_index
from dentgen.shards.ledger import committed_units, read_ledger, read_ledgers
from dentgen.shards.parquet import UNREADABLE
from dentgen.shards.plan import Plan
from dentgen.shards.tar import json_bytes
from dentgen.shards.verify_samples import sample_problems


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a build.

    Attributes:
        place: File under the build, or file and key.
        text: What was found and what was expected.
        unit: Unit whose regeneration would fix it, None if none would.
        derived: File that sealing again would fix, "" if it would not.
    """

    place: str
    text: str
    unit: int | None = None
    derived: str = ""

    def __str__(self) -> str:
        """One line."""
        return f"{self.place}: {self.text}"


#: Allowed values of label members by extension ("seg.png").
LabelValues = Mapping[str, Collection[int]]


def verify_build(
    out: str, plan: Plan, label_values: LabelValues, progress: Callable[[int, int], None] | None = None
) -> Iterator[Problem]:
    """Check a whole build, units in parallel.

    Args:
        out: The build.
        plan: Its plan.
        label_values: Values that label maps may hold.
        progress: Called with the units checked and the units planned.

    Yields:
        Problems in the order of the plan; none if the build is intact.
    """
    done = committed_units(out)
    duplicates, builder, rows = _Duplicates(out, plan), IndexBuilder(plan), _TableCheck(out)
    complete = True
    for number, (record, problems) in enumerate(_checked_units(out, plan, done, label_values), 1):
        yield from problems
        if progress is not None:
            progress(number, len(plan.units))
        complete = complete and record is not None
        if record is not None:
            duplicates.add(record)
            builder.add(record)
            rows.add(record)
    if complete:
        yield from duplicates.problems()
        yield from _sealed_problems(out, builder.index(), rows)


def _checked_units(
    out: str, plan: Plan, done: Collection[str], label_values: LabelValues
) -> Iterator[tuple[LedgerRecord | None, list[Problem]]]:
    """Results in the order of the plan, a bounded number of units ahead of whoever iterates."""
    remaining = iter(plan.units)
    workers = 2 * (os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[tuple[LedgerRecord | None, list[Problem]]]] = deque()
        for unit in remaining:
            pending.append(pool.submit(_check_unit, out, plan, unit, done, label_values))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


class _Duplicates:
    """Sample keys that occur more than once; until the end, a key is 8 bytes of hash."""

    def __init__(self, out: str, plan: Plan) -> None:
        self._out, self._plan = out, plan
        self._hashes: list[NDArray[np.int64]] = []

    def add(self, record: LedgerRecord) -> None:
        codes = (hash(sample.key) for sample in record.samples)
        self._hashes.append(np.fromiter(codes, np.int64, len(record.samples)))

    def problems(self) -> Iterator[Problem]:
        values, counts = np.unique(np.concatenate([*self._hashes, np.zeros(0, np.int64)]), return_counts=True)
        suspects = set(values[counts > 1].tolist())
        if not suspects:
            return
        records = read_ledgers(self._out, (unit.name for unit in self._plan.units))
        keys = Counter(s.key for record in records for s in record.samples if hash(s.key) in suspects)
        for key, count in keys.items():
            if count > 1:
                yield Problem(layout.LEDGER, f"found the sample {key!r} {count} times, expected once")


class _TableCheck:
    """Compares the table of samples with the ledger, row group by row group as commit records come in."""

    def __init__(self, out: str) -> None:
        self._problem = ""
        self._rows: Iterator[tuple[str, str, str, str]] = iter(())
        self._count = 0
        try:
            self._rows = _table_rows(storage.join(out, layout.SAMPLES))
        except (StorageError, *UNREADABLE) as error:
            self._problem = f"cannot be read: {error}"

    def add(self, record: LedgerRecord) -> None:
        for sample in record.samples:
            self._count += 1
            wanted = (sample.key, sample.status, sample.reason, record.shard if sample.status == "written" else "")
            self._compare(wanted)

    def problems(self) -> Iterator[Problem]:
        if not self._problem and next(self._rows, None) is not None:
            self._problem = f"found more rows than the ledger's {self._count} samples"
        if self._problem:
            yield Problem(layout.SAMPLES, self._problem, derived=layout.SAMPLES)

    def _compare(self, wanted: tuple[str, str, str, str]) -> None:
        if self._problem:
            return
        try:
            found = next(self._rows, None)
        except UNREADABLE as error:
            self._problem = f"cannot be read: {error}"
            return
        if found != wanted:
            self._problem = f"found {found} in row {self._count}, expected {wanted}, as the ledger says"


def _table_rows(url: str) -> Iterator[tuple[str, str, str, str]]:
    """Key, status, reason and shard of every row of the table of samples.

    Raises:
        StorageError: If the file cannot be opened; pyarrow's errors if it is no such table.
    """
    columns = ["key", "status", "reason", "shard"]
    file = pq.ParquetFile(storage.open_read(url))
    missing = sorted(set(columns) - set(file.schema_arrow.names))
    if missing:
        raise pa.ArrowInvalid(f"found columns {file.schema_arrow.names}, expected {missing} too")
    batches = file.iter_batches(columns=columns, use_threads=False)
    return (row for batch in batches for row in zip(*(batch[name].to_pylist() for name in columns), strict=True))


def _check_unit(
    out: str, plan: Plan, unit: Unit, done: Collection[str], label_values: LabelValues
) -> tuple[LedgerRecord | None, list[Problem]]:
    place = layout.ledger(unit.name)
    if unit.name not in done:
        return None, [Problem(place, "missing: the unit is not done", unit.id)]
    try:
        record = read_ledger(out, unit.name)
    except StorageError as error:
        return None, [Problem(place, str(error), unit.id)]
    problems = list(_record_problems(place, plan, unit, record))
    if record.shard:
        problems += _shard_problems(out, plan, unit, record, label_values)
    return record, problems


def _record_problems(place: str, plan: Plan, unit: Unit, record: LedgerRecord) -> Iterator[Problem]:
    planned = unit.samples(plan.spec.sampling.variants)
    expected = {
        "unit": (record.unit, unit.id),
        "samples": (len(record.samples), planned),
        "shard": (record.shard, layout.shard_file(unit.name) if record.written else ""),
        "spec_digest": (record.spec_digest, plan.spec_digest),
        "bundle_digest": (record.bundle_digest, plan.bundle_digest),
    }
    for field, (found, wanted) in expected.items():
        if found != wanted:
            yield Problem(place, f"found {field} {found!r}, expected {wanted!r}")


def _shard_problems(
    out: str, plan: Plan, unit: Unit, record: LedgerRecord, label_values: LabelValues
) -> Iterator[Problem]:
    place = f"{layout.SHARDS}/{record.shard}"
    try:
        data = storage.read_if_exists(storage.join(out, layout.SHARDS, record.shard))
    except StorageError as error:
        yield Problem(place, str(error))  # no unit: an outage is nothing to repair
        return
    if data is None:
        yield Problem(place, f"missing, expected {record.bytes} bytes", unit.id)
        return
    found = hashlib.sha256(data).hexdigest()
    if found != record.sha256:
        expected = f"{record.bytes} with {record.sha256}"
        yield Problem(place, f"found {len(data)} bytes with sha256 {found}, expected {expected}", unit.id)
        return
    for key, text in sample_problems(data, record, plan, label_values):
        yield Problem(f"{place}: {key}", text)


def _sealed_problems(out: str, expected: DatasetIndex, rows: _TableCheck) -> Iterator[Problem]:
    if not storage.exists(storage.join(out, layout.SUCCESS)):
        yield Problem(layout.SUCCESS, "missing: the build was not sealed", derived=layout.SUCCESS)
        return
    if expected.planned != expected.written + expected.rejected:
        text = f"found {expected.written} written and {expected.rejected} rejected, expected {expected.planned} in all"
        yield Problem(layout.LEDGER, text)
    for name in (layout.INDEX, layout.versioned(expected.version, layout.INDEX)):
        yield from _index_problems(out, name, expected)
    yield from rows.problems()


def _index_problems(out: str, name: str, expected: DatasetIndex) -> Iterator[Problem]:
    try:
        found = storage.read_if_exists(storage.join(out, name))
    except StorageError as error:
        yield Problem(name, str(error))
        return
    if found is None:
        yield Problem(name, "missing, expected an index of the ledger's shards", derived=name)
        return
    if found != json_bytes(expected.model_dump(mode="json")):
        yield Problem(name, _index_difference(out, name, expected), derived=name)


def _index_difference(out: str, name: str, expected: DatasetIndex) -> str:
    try:
        index = read_index(out, name)
    except StorageError as error:
        return str(error)
    listed, wanted = ({shard.name: shard.sha256 for shard in one.shards} for one in (index, expected))
    differing = sorted(shard for shard in listed.keys() | wanted.keys() if listed.get(shard) != wanted.get(shard))
    return f"disagrees with the ledger on the shards {differing[:5]}" if differing else "disagrees with the ledger"
