"""The Ray stage that commits units: tasks beside the actors, so that writing overlaps with the engine.

Imports nothing heavy: its processes start while the first units are generated. Errors travel as outcomes: they belong
to a unit, and the build goes on without it.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from dentgen import storage
from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.units import unit_name
from dentgen.errors import DentgenError
from dentgen.logs import LogFormat, log_context, start_logging
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.redaction import protect_logs, shown
from dentgen.shards.ledger import UnitResult, commit, restore

#: By unit, the sha256 of its shard as ledger and indexes name it.
Claims = Mapping[int, Collection[str]]


def publish(out: str, shard: bytes, record: LedgerRecord, claims: Claims | None) -> None:
    """Commit a unit, or put it back as it was committed where ``claims`` tell what that was."""
    if claims is None:
        commit(out, shard, record)
    else:
        restore(out, shard, record, claims[record.unit])


def log_as_driver(log_format: LogFormat) -> None:
    """Let a worker's process log in the driver's format; a second call changes nothing."""
    if log_format == "json":
        start_logging("json")
    protect_logs()


def commit_unit(result: UnitResult, out: str, claims: Claims | None, log_format: LogFormat = "text") -> UnitOutcome:
    """Commit or restore a generated unit; an error becomes its outcome.

    Args:
        result: What an actor made.
        out: The build.
        claims: By unit, what is known of the bytes that were committed before; None to commit units anew.
        log_format: As the driver logs.
    """
    log_as_driver(log_format)
    record = result.record
    try:
        with log_context(build=storage.without_secrets(out), unit=unit_name(record.unit)):
            return UnitOutcome.of(record, lambda: publish(out, result.shard, record, claims))
    except Exception as failure:  # noqa: BLE001 - travels as data and fails the build by name
        return UnitOutcome(record.unit, 0, error_text(failure))


def commit_made(
    batch: dict[str, np.ndarray], out: str, claims: Claims | None, log_format: LogFormat = "text"
) -> dict[str, list[Any]]:
    """``commit_unit`` as Ray Data maps it over rows of ``UnitMaker``: one row in, one row out, without the bytes."""
    unit, error = int(batch["unit"][0]), str(batch["error"][0])
    if error:
        outcome = UnitOutcome(unit, 0, error, bool(batch["fatal"][0]))
    else:
        outcome = _commit_row(unit, batch, out, claims, log_format)
    return {"unit": [unit], "outcome": [json.dumps(asdict(outcome))]}


def _commit_row(
    unit: int, batch: dict[str, np.ndarray], out: str, claims: Claims | None, log_format: LogFormat
) -> UnitOutcome:
    try:
        record = LedgerRecord.model_validate_json(str(batch["record"][0]))
    except ValueError as failure:  # an exception would abort the whole Dataset
        return UnitOutcome(unit, 0, error_text(failure))
    return commit_unit(UnitResult(bytes(batch["shard"][0]), record), out, claims, log_format)


def outcome_of(row: Mapping[str, Any]) -> UnitOutcome:
    """The outcome in a row of ``commit_made``."""
    return UnitOutcome(**json.loads(str(row["outcome"])))


def error_text(error: BaseException) -> str:
    """The text of a dentgen error; anything else with its traceback, without secrets in it."""
    return str(error) if isinstance(error, DentgenError) else shown("".join(traceback.format_exception(error)))
