"""Verification of what versions keep beside their index: their seals, and their tables of commit records."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from dentgen import storage
from dentgen.documents.units import unit_name
from dentgen.errors import StorageError
from dentgen.shards import layout
from dentgen.shards.ledger import read_ledgers, same_but_timing
from dentgen.shards.ledger_table import is_sound, read_ledger_table
from dentgen.shards.plan import Plan
from dentgen.shards.problem import Problem
from dentgen.shards.seals import read_seal


def version_problems(out: str, plan: Plan, *, blamed: bool = False) -> Iterator[Problem]:
    """Compare every version of a plan with the files that it was sealed with, and its table with the ledger.

    Of earlier versions the index is hashed, not read: its shards are those of the ledger, which is verified as a whole.

    Args:
        out: The build.
        plan: Its plan.
        blamed: Units were found damaged, so that a ledger that differs from a table is no news.
    """
    for version in range(plan.segment + 1):
        if _is_empty(out, plan, version):
            continue
        yield from _seal_problems(out, version, is_newest=version == plan.segment)
        if not blamed:
            yield from _table_problems(out, plan, version)


def _is_empty(out: str, plan: Plan, version: int) -> bool:
    """Whether every sample of a version was rejected, so that it was never sealed: a later one follows on it."""
    if version == plan.segment or read_seal(out, version) is not None:
        return False
    names = map(unit_name, plan.units_of_version(version))
    try:
        return not any(record.shard for record in read_ledgers(out, names))
    except StorageError:  # whoever verifies the ledger names the record
        return False


def _seal_problems(out: str, version: int, *, is_newest: bool) -> Iterator[Problem]:
    """The seal, and what it names; the index of the newest version is compared with the ledger itself."""
    place, seal = layout.versioned(version, layout.SEAL), read_seal(out, version)
    if seal is None:
        yield Problem(place, "missing or unreadable, expected the seal of a version", derived=place)
        return
    sealed = {} if is_newest else {layout.INDEX: seal.index_sha256}
    for name, expected in {**sealed, layout.LEDGER_COPY: seal.ledger_sha256}.items():
        file = layout.versioned(version, name)
        try:
            found = storage.sha256_of(storage.join(out, file))
        except StorageError as error:
            yield Problem(file, str(error), derived=file)
            continue
        if found != expected:
            yield Problem(file, f"found sha256 {found}, expected {expected}, as {place} says", derived=file)


def _table_problems(out: str, plan: Plan, version: int) -> Iterator[Problem]:
    """The table must have the records of all units that the version added, those that were retired later included."""
    place = layout.versioned(version, layout.LEDGER_COPY)
    stop = plan.firsts[version + 1] if version < plan.segment else plan.total_units
    units = range(plan.firsts[version], stop)
    try:
        pairs = zip_longest(read_ledgers(out, map(unit_name, units)), read_ledger_table(storage.join(out, place)))
        for number, (record, row) in enumerate(pairs):
            if record is None or row is None or not same_but_timing(record, row):
                unit = units[number] if number < len(units) else None
                yield _difference(out, version, unit)
                return
    except StorageError as error:
        yield Problem(place, str(error), derived=place)


def _difference(out: str, version: int, unit: int | None) -> Problem:
    """Whose fault it is that table and ledger differ: a table with which the version was sealed is right."""
    place = layout.versioned(version, layout.LEDGER_COPY)
    if unit is None or not is_sound(out, version):
        return Problem(place, f"differs from the ledger, first at unit {unit}", derived=place)
    return Problem(layout.ledger(unit_name(unit)), f"differs from {place}, with which it was sealed", unit)
