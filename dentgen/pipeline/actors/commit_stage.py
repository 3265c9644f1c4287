"""The Ray stage that commits units: tasks beside the actors, so that writing overlaps with the engine.

Imports nothing heavy: its processes start while the first units are generated. Errors travel as rows, because an
exception would abort the whole Dataset.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from dentgen import storage
from dentgen.documents import LedgerRecord, unit_name
from dentgen.errors import DentgenError
from dentgen.logs import LogFormat, log_context, start_logging
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.redaction import protect_logs, shown
from dentgen.shards.ledger import commit, restore

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


def commit_made(
    batch: dict[str, np.ndarray], out: str, claims: Claims | None, log_format: LogFormat = "text"
) -> dict[str, list[Any]]:
    """Commit or restore a generated unit: one row in, one row out, without the shard's bytes.

    Args:
        batch: A row of ``UnitMaker``.
        out: The build.
        claims: By unit, what is known of the bytes that were committed before; None to commit units anew.
        log_format: As the driver logs.
    """
    log_as_driver(log_format)
    unit, error = int(batch["unit"][0]), str(batch["error"][0])
    outcome = UnitOutcome(unit, 0, error, bool(batch["fatal"][0]))
    if not error:
        try:
            record = LedgerRecord.model_validate_json(str(batch["record"][0]))
            with log_context(build=storage.without_secrets(out), unit=unit_name(unit)):
                outcome = UnitOutcome.of(record, lambda: publish(out, bytes(batch["shard"][0]), record, claims))
        except Exception as failure:  # noqa: BLE001 - travels as data and fails the build by name
            outcome = replace(outcome, error=error_text(failure))
    return {"unit": [unit], "outcome": [json.dumps(asdict(outcome))]}


def outcome_of(row: Mapping[str, Any]) -> UnitOutcome:
    """The outcome in a row of ``commit_made``."""
    return UnitOutcome(**json.loads(str(row["outcome"])))


def error_text(error: BaseException) -> str:
    """The text of a dentgen error; anything else with its traceback, without secrets in it."""
    return str(error) if isinstance(error, DentgenError) else shown("".join(traceback.format_exception(error)))
