"""Verification: does every committed byte say what the ledger, the plan and the schemas say?

Finds problems and names them; refuses to repair.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dentgen import storage
from dentgen.documents import DatasetIndex, LedgerRecord, Unit
from dentgen.errors import StorageError
from dentgen.shards.index import INDEX, SAMPLES, SUCCESS, VERSIONS, index_of, read_index
from dentgen.shards.ledger import LEDGER, SHARDS, committed_units, read_ledger
from dentgen.shards.parquet import UNREADABLE, table_of
from dentgen.shards.plan import Plan
from dentgen.shards.tar import json_bytes
from dentgen.shards.verify_samples import sample_problems


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        place: File under the build, or file and key.
        text: What was found and what was expected.
        unit: Unit that making again would mend, None if none would.
        derived: File that sealing again would mend, "" if it would not.
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


def verify_build(out: str, plan: Plan, label_values: LabelValues) -> Iterator[Problem]:
    """Check a whole build, units in parallel.

    Args:
        out: The build.
        plan: Its plan.
        label_values: What label maps may hold.

    Yields:
        Problems in the order of the plan; none if the build is sound.
    """
    done = committed_units(out)
    keys: Counter[str] = Counter()
    ledgers: list[LedgerRecord] = []
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        checks = pool.map(lambda unit: _check_unit(out, plan, unit, done, label_values), plan.units)
        for record, problems in checks:
            yield from problems
            if record is not None:
                ledgers.append(record)
                keys.update(sample.key for sample in record.samples)
    for key, count in keys.items():
        if count > 1:
            yield Problem(LEDGER, f"found the sample {key!r} {count} times, expected once")
    if len(ledgers) == len(plan.units):
        yield from _sealed_problems(out, plan, ledgers)


def _check_unit(
    out: str, plan: Plan, unit: Unit, done: Collection[str], label_values: LabelValues
) -> tuple[LedgerRecord | None, list[Problem]]:
    place = f"{LEDGER}/{unit.name}.json"
    if unit.name not in done:
        return None, [Problem(place, "not there, the unit is not done", unit.id)]
    try:
        record = read_ledger(out, unit.name)
    except StorageError as error:
        return None, [Problem(place, str(error), unit.id)]
    problems = list(_record_problems(place, plan, unit, record))
    if record.shard:
        problems += _shard_problems(out, plan, unit, record, label_values)
    return record, problems


def _record_problems(place: str, plan: Plan, unit: Unit, record: LedgerRecord) -> Iterator[Problem]:
    planned = unit.samples(int(plan.spec["sampling"]["variants"]))
    expected = {
        "unit": (record.unit, unit.id),
        "samples": (len(record.samples), planned),
        "shard": (record.shard, f"{unit.name}.tar" if record.written else ""),
        "spec_digest": (record.spec_digest, plan.spec_digest),
        "bundle_digest": (record.bundle_digest, plan.bundle_digest),
    }
    for field, (found, wanted) in expected.items():
        if found != wanted:
            yield Problem(place, f"found {field} {found!r}, expected {wanted!r}")


def _shard_problems(
    out: str, plan: Plan, unit: Unit, record: LedgerRecord, label_values: LabelValues
) -> Iterator[Problem]:
    place = f"{SHARDS}/{record.shard}"
    try:
        data = storage.read_if_exists(storage.join(out, SHARDS, record.shard))
    except StorageError as error:
        yield Problem(place, str(error))  # of no unit: an outage is nothing to make again
        return
    if data is None:
        yield Problem(place, f"not there, expected {record.bytes} bytes", unit.id)
        return
    found = hashlib.sha256(data).hexdigest()
    if found != record.sha256:
        expected = f"{record.bytes} with {record.sha256}"
        yield Problem(place, f"found {len(data)} bytes with sha256 {found}, expected {expected}", unit.id)
        return
    for key, text in sample_problems(data, record, plan, label_values):
        yield Problem(f"{place}: {key}", text)


def _sealed_problems(out: str, plan: Plan, ledgers: list[LedgerRecord]) -> Iterator[Problem]:
    if not storage.exists(storage.join(out, SUCCESS)):
        yield Problem(SUCCESS, "not there, the build was not sealed", derived=SUCCESS)
        return
    expected = index_of(plan, ledgers)
    if expected.planned != expected.written + expected.rejected:
        text = f"found {expected.written} written and {expected.rejected} rejected, expected {expected.planned} in all"
        yield Problem(LEDGER, text)
    for name in (INDEX, f"{VERSIONS}/{expected.version}/{INDEX}"):
        yield from _index_problems(out, name, expected)
    yield from _table_problems(out, ledgers)


def _index_problems(out: str, name: str, expected: DatasetIndex) -> Iterator[Problem]:
    try:
        found = storage.read_if_exists(storage.join(out, name))
    except StorageError as error:
        yield Problem(name, str(error))
        return
    if found is None:
        yield Problem(name, "not there, expected an index of the ledger's shards", derived=name)
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


def _table_problems(out: str, ledgers: list[LedgerRecord]) -> Iterator[Problem]:
    try:
        data = storage.read_bytes(storage.join(out, SAMPLES))
        table = table_of(data, ("key", "status", "reason", "shard"))
    except (StorageError, *UNREADABLE) as error:
        yield Problem(SAMPLES, f"cannot be read: {error}", derived=SAMPLES)
        return
    wanted = [
        (sample.key, sample.status, sample.reason, record.shard if sample.status == "written" else "")
        for record in ledgers
        for sample in record.samples
    ]
    found = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    if found != wanted:
        text = f"found {table.num_rows} rows that disagree with the ledger, expected its {len(wanted)} samples"
        yield Problem(SAMPLES, text, derived=SAMPLES)
