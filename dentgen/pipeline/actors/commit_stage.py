"""The Ray stage that commits units: tasks beside the actors, so that writing overlaps with the engine.

Imports nothing heavy: its processes start while the first units are generated. Errors travel as outcomes: they belong
to a unit, and the build goes on without it.
"""

from __future__ import annotations

import traceback
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from dentgen.documents import LedgerRecord
from dentgen.errors import DentgenError
from dentgen.redaction import shown
from dentgen.shards.ledger import UnitResult, commit, restore

#: By unit, the sha256 of its shard as ledger and indexes name it.
Claims = Mapping[int, Collection[str]]


@dataclass(frozen=True, slots=True)
class UnitOutcome:
    """Result of a unit: the number of samples committed, or an error, which may be one that ends the whole build."""

    unit: int
    samples: int
    error: str = ""
    fatal: bool = False


def publish(out: str, shard: bytes, record: LedgerRecord, claims: Claims | None) -> None:
    """Commit a unit, or put it back as it was committed where ``claims`` tell what that was."""
    if claims is None:
        commit(out, shard, record)
    else:
        restore(out, shard, record, claims[record.unit])


def commit_unit(result: UnitResult, out: str, claims: Claims | None) -> UnitOutcome:
    """Commit or restore a generated unit; an error becomes its outcome.

    Args:
        result: What an actor made.
        out: The build.
        claims: What is known of the bytes that were committed before; None to commit the unit anew.
    """
    record = result.record
    try:
        publish(out, result.shard, record, claims)
    except Exception as failure:  # noqa: BLE001 - travels as data and fails the build by name
        return UnitOutcome(record.unit, 0, error_text(failure))
    return UnitOutcome(record.unit, len(record.samples))


def error_text(error: BaseException) -> str:
    """The text of a dentgen error; anything else with its traceback, without secrets in it."""
    return str(error) if isinstance(error, DentgenError) else shown("".join(traceback.format_exception(error)))
