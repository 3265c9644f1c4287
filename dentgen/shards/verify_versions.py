"""Verification of what versions keep beside their index: their seals, and their tables of commit records."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from dentgen import storage
from dentgen.documents import unit_name
from dentgen.errors import StorageError
from dentgen.shards import layout
from dentgen.shards.ledger import read_ledgers, same_but_timing
from dentgen.shards.ledger_table import read_ledger_table
from dentgen.shards.plan import Plan
from dentgen.shards.problem import Problem
from dentgen.shards.seals import read_seal


def version_problems(out: str, plan: Plan) -> Iterator[Problem]:
    """Compare every version of a plan with the files that it was sealed with, and its table with the ledger.

    Of earlier versions the index is hashed, not read: its shards are those of the ledger, which is verified as a whole.

    Args:
        out: The build.
        plan: Its plan.
    """
    for version in range(plan.segment + 1):
        yield from _seal_problems(out, version)
        yield from _table_problems(out, plan, version)


def _seal_problems(out: str, version: int) -> Iterator[Problem]:
    place, seal = layout.versioned(version, layout.SEAL), read_seal(out, version)
    if seal is None:
        yield Problem(place, "missing or unreadable, expected the seal of a version", derived=place)
        return
    for name, expected in ((layout.INDEX, seal.index_sha256), (layout.LEDGER_COPY, seal.ledger_sha256)):
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
    names = [unit_name(number) for number in range(plan.firsts[version], stop)]
    try:
        pairs = zip_longest(read_ledgers(out, names), read_ledger_table(storage.join(out, place)))
        for number, (record, row) in enumerate(pairs):
            if record is None or row is None or not same_but_timing(record, row):
                name = names[number] if number < len(names) else "none"
                yield Problem(place, f"differs from the ledger at unit {name}", derived=place)
                return
    except StorageError as error:
        yield Problem(place, str(error), derived=place)
