"""Repair of retired units, which earlier versions have: from what these were sealed with, or from the source.

Their condition shards changed or are gone, so that often nobody can make them again. That is told, and nothing waits
for it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from dentgen import storage
from dentgen.conditions.readers.source import list_shards
from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.units import Unit
from dentgen.errors import BuildError, DentgenError, StorageError
from dentgen.pipeline.repair_units import Make, claims_on, require_environment, sealed_claims, unpinned
from dentgen.shards import layout
from dentgen.shards.ledger import digest_of, ledger_url, read_ledger, same_but_timing, shard_url
from dentgen.shards.ledger_table import is_sound, read_ledger_table
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.shards.problem import Problem
from dentgen.shards.tar import json_bytes

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Remade:
    """What became of damaged units that were retired.

    Attributes:
        units: Numbers of those that were generated again.
        lost: Why the others could not be, by number.
    """

    units: tuple[int, ...] = ()
    lost: Mapping[int, str] = field(default_factory=dict)

    def told(self, problem: Problem) -> Problem:
        """A problem that is left, with the reason."""
        why = self.lost.get(-1 if problem.unit is None else problem.unit)
        return problem if why is None else replace(problem, text=f"{problem.text}; the unit was retired, and {why}")


def repair_retired(plan: Plan, location: BuildLocation, units: Sequence[Unit], make: Make) -> Remade:
    """Put the records of retired units back from the versions that have them, and generate shards that are damaged.

    Args:
        plan: The plan; its units are not read.
        location: Where source, output and bundle are now.
        units: The retired units that are damaged.
        make: Generates units.
    """
    out = location.output
    _put_records_back(out, plan, units)
    damaged = [unit for unit in units if not _is_whole(out, unit)]
    if not damaged:
        return Remade()
    try:
        require_environment(plan.at(location))
        there = {shard.name for shard in list_shards(location.source, plan.spec.source.format)}
    except DentgenError as error:
        return Remade(lost={unit.id: f"cannot be generated again: {error}" for unit in damaged})
    _try(plan, out, [unpinned(unit) for unit in damaged if unit.shard in there], make)
    made = {unit.id for unit in damaged if _is_whole(out, unit)}
    lost = {
        unit.id: f"the condition shard {unit.shard} {'gives other bytes now' if unit.shard in there else 'is gone'}"
        for unit in damaged
        if unit.id not in made
    }
    return Remade(tuple(sorted(made)), lost)


def _try(plan: Plan, out: str, units: Sequence[Unit], make: Make) -> None:
    sealed = {version: sealed_claims(out, version) for version in {plan.segment_of(unit.id) for unit in units}}
    try:
        make(units, {unit.id: claims_on(out, unit, sealed[plan.segment_of(unit.id)]) for unit in units})
    except BuildError as error:
        _LOG.warning("%s: retired units cannot be generated again: %s", storage.without_secrets(out), error)


def _put_records_back(out: str, plan: Plan, units: Sequence[Unit]) -> None:
    """Write the records that versions were sealed with, where the ledger has others or none."""
    for version in sorted({plan.segment_of(unit.id) for unit in units}):
        names = {unit.id: unit.name for unit in units if plan.segment_of(unit.id) == version}
        if not is_sound(out, version):
            continue
        for record in read_ledger_table(storage.join(out, layout.versioned(version, layout.LEDGER_COPY))):
            if record.unit in names and not _says(out, names[record.unit], record):
                content = json_bytes(record.model_dump(mode="json"))
                storage.overwrite(ledger_url(out, names[record.unit]), content)


def _says(out: str, name: str, record: LedgerRecord) -> bool:
    with suppress(StorageError):
        return same_but_timing(read_ledger(out, name), record)
    return False


def _is_whole(out: str, unit: Unit) -> bool:
    """Whether a unit's record is there, and its shard is what that says."""
    with suppress(StorageError):
        record = read_ledger(out, unit.name)
        if record.unit == unit.id:
            return digest_of(storage.read_if_exists(shard_url(out, unit.name)) or b"") == record.sha256
    return False
