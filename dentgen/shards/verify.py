"""Verification of a build: every committed byte against plan, ledger, index, table of samples and schemas."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from dentgen import storage
from dentgen.documents.index import DatasetIndex
from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.units import Unit, unit_name
from dentgen.errors import StorageError
from dentgen.shards import layout
from dentgen.shards.index import IndexBuilder, plan_copy_is_sound
from dentgen.shards.index_reader import sealed_indexes
from dentgen.shards.key_counter import KeyCounter
from dentgen.shards.lease import lease_fault
from dentgen.shards.ledger import committed_units, read_ledger, read_ledgers
from dentgen.shards.plan import Plan
from dentgen.shards.problem import Problem
from dentgen.shards.record_faults import record_faults
from dentgen.shards.verify_index import index_problems
from dentgen.shards.verify_samples import sample_problems
from dentgen.shards.verify_table import TableCheck
from dentgen.shards.verify_versions import version_problems

#: Allowed values of label members by extension ("seg.png").
LabelValues = Mapping[str, Collection[int]]
Checked = tuple[Unit, LedgerRecord | None, list[Problem]]


def verify_build(
    out: str,
    plan: Plan,
    label_values: LabelValues,
    progress: Callable[[int, int], None] | None = None,
    later: int = 0,
    retired: Sequence[Unit] = (),
) -> Iterator[Problem]:
    """Check the version of a build that a plan tells, units in parallel.

    Args:
        out: The build.
        plan: Its plan.
        label_values: Values that label maps may hold.
        progress: Called with the units checked and the units there are.
        later: Units that segments after the plan's have planned, which may have records already.
        retired: Units that the plan's segments retired: only earlier versions have them.

    Yields:
        Problems in the order of the plan, then those of retired units; none if the build is intact.
    """
    progress, count = progress or (lambda *_: None), len(plan.units) + len(retired)
    done, indexes = committed_units(out), sealed_indexes(out, plan.segment)
    keys, builder = KeyCounter(), IndexBuilder(plan)
    table = TableCheck(out, plan, frozenset(index.samples_sha256 for index in indexes))
    sealed = [{entry.name: (entry.sha256, entry.source_sha256) for entry in index.shards} for index in indexes]
    complete, blamed, rejecting = True, False, list[Unit]()
    for number, (unit, record, problems) in enumerate(_checked_units(out, plan, plan.units, done, label_values), 1):
        found = [*problems, *table.unit_problems(unit, record)]
        found += _unwitnessed(unit, record, sealed) if record is not None else []
        blamed = blamed or bool(found)
        yield from found
        complete = complete and record is not None
        if record is not None:
            keys.add(record)
            builder.add(record)
            rejecting += [unit] if record.rejected else []
        progress(number, count)
    spoilt = False
    for number, (_, _, problems) in enumerate(_checked_units(out, plan, retired, done, label_values), 1):
        spoilt = spoilt or bool(problems)
        yield from problems
        progress(len(plan.units) + number, count)
    yield from _strays(plan, done, later)
    yield from _lease_problems(out)
    if complete and not blamed:
        yield from _unnamed_change(builder, indexes, rejecting)
    if complete:
        yield from _repeated(out, plan, keys)
        yield from _sealed_problems(out, plan, builder, [index.samples_sha256 for index in indexes], table)
        if storage.exists(storage.join(out, layout.SUCCESS)):
            yield from version_problems(out, plan, blamed=blamed or spoilt)


def _checked_units(
    out: str, plan: Plan, units: Sequence[Unit], done: Collection[str], label_values: LabelValues
) -> Iterator[Checked]:
    """Results in the order of the units, a bounded number of them ahead of whoever iterates."""
    workers = 2 * (os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[Checked]] = deque()
        for unit in units:
            pending.append(pool.submit(_check_unit, out, plan, unit, done, label_values))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _check_unit(out: str, plan: Plan, unit: Unit, done: Collection[str], label_values: LabelValues) -> Checked:
    place = layout.ledger(unit.name)
    if unit.name not in done:
        return unit, None, [Problem(place, "missing: the unit is not done", unit.id)]
    try:
        record = read_ledger(out, unit.name)
    except StorageError as error:
        return unit, None, [Problem(place, str(error), unit.id)]
    problems = [Problem(place, str(fault), unit.id) for fault in record_faults(plan, unit, record)]
    if record.shard and record.shard == layout.shard_file(unit.name):  # never follow another name
        problems += _shard_problems(out, plan, unit, record, label_values)
    return unit, record, problems


def _shard_problems(
    out: str, plan: Plan, unit: Unit, record: LedgerRecord, label_values: LabelValues
) -> Iterator[Problem]:
    place = layout.shard(unit.name)
    try:
        # what replaced a shard may be far larger
        data = storage.read_if_exists(storage.join(out, place), most=record.bytes + 1)
    except StorageError as error:
        yield Problem(place, str(error))  # no unit: an outage is nothing to repair
        return
    if data is None:
        yield Problem(place, f"missing, expected {record.bytes} bytes", unit.id)
        return
    found = hashlib.sha256(data).hexdigest()
    if (len(data), found) != (record.bytes, record.sha256):
        expected = f"{record.bytes} with {record.sha256}"
        yield Problem(place, f"found {len(data)} bytes with sha256 {found}, expected {expected}", unit.id)
        return
    try:
        for key, text in sample_problems(data, record, plan, label_values):
            yield Problem(f"{place}: {key}", text, unit.id)
    except Exception as error:  # noqa: BLE001 - whatever an archive that nobody here wrote makes its readers raise
        yield Problem(place, f"cannot be read: {type(error).__name__}: {error}", unit.id)


def _unwitnessed(unit: Unit, record: LedgerRecord, sealed: list[dict[str, tuple[str, str]]]) -> Iterator[Problem]:
    """A record whose hashes no index names: it was replaced, perhaps together with its shard, or the indexes were."""
    claims = [entries.get(layout.shard_file(unit.name), ("", "")) for entries in sealed]
    found = (record.sha256, record.source_sha256) if record.shard else ("", "")
    if claims and found not in claims:
        expected = " or ".join(repr(claim) for claim in sorted(set(claims)))
        text = f"found hashes of shard and source {found!r}, expected {expected}, as indexes say"
        known = any(record.sha256 == sha256 for sha256, _ in claims)  # then its source is another
        yield Problem(layout.ledger(unit.name), text, unit.id, derived="" if known else layout.INDEX)


def _unnamed_change(builder: IndexBuilder, indexes: list[DatasetIndex], rejecting: list[Unit]) -> Iterator[Problem]:
    """A ledger that no index knows though shards and table agree with it: rejected samples were changed."""
    sealed = {index.ledger_sha256 for index in indexes}
    if len(indexes) > 1 and len(sealed) == 1 and builder.ledger_sha256 not in sealed:
        for unit in rejecting:
            yield Problem(layout.ledger(unit.name), "the ledger is not the one that was sealed", unit.id)


def _strays(plan: Plan, done: Collection[str], later: int) -> Iterator[Problem]:
    """Commit records of units that nobody planned; those of retired units belong to earlier versions."""
    planned = plan.total_units + later
    for name in sorted(done):
        number = int(name) if name.isascii() and name.isdecimal() else -1
        if not (0 <= number < planned and unit_name(number) == name):
            place = layout.ledger(name)
            yield Problem(place, f"found a record of no unit, expected {planned} units", stray=place)


def _lease_problems(out: str) -> Iterator[Problem]:
    fault = lease_fault(out)
    if fault:
        yield Problem(layout.LEASE, fault)


def _repeated(out: str, plan: Plan, keys: KeyCounter) -> Iterator[Problem]:
    for key, count in keys.repeated(read_ledgers(out, (unit.name for unit in plan.units))).items():
        yield Problem(layout.LEDGER, f"found the sample {key!r} {count} times, expected once")


def _sealed_problems(
    out: str, plan: Plan, builder: IndexBuilder, digests: list[str], table: TableCheck
) -> Iterator[Problem]:
    if not storage.exists(storage.join(out, layout.SUCCESS)):
        yield Problem(layout.SUCCESS, "missing: the build was not sealed", derived=layout.SUCCESS)
        return
    expected = builder.index(table.digest if table.digest in digests else next(iter(digests), ""))
    if expected.planned != expected.written + expected.rejected:
        text = f"found {expected.written} written and {expected.rejected} rejected, expected {expected.planned} in all"
        yield Problem(layout.LEDGER, text)
    for name in (layout.INDEX, layout.versioned(expected.version, layout.INDEX)):
        yield from index_problems(out, name, expected)
    yield from table.problems()
    yield from _copy_problems(out, plan, expected.version)


def _copy_problems(out: str, plan: Plan, version: int) -> Iterator[Problem]:
    """The version's copies of the newest plan segment must be that segment."""
    names = layout.plan_head(version), layout.plan_units(version)
    for name, copied in zip(names, (layout.PLAN_COPY, layout.UNITS_COPY), strict=True):
        place = layout.versioned(version, copied)
        if storage.read_if_exists(storage.join(out, place)) != storage.read_if_exists(storage.join(out, name)):
            # of two copies that decide the same, nobody can tell which was changed
            derived = "" if plan_copy_is_sound(out, version, plan) else place
            yield Problem(place, f"differs from {name}, expected a copy", derived=derived)
