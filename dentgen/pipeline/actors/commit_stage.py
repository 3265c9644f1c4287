"""The Ray stage that commits units: tasks beside the actors, so that writing overlaps with the engine.

Imports nothing heavy: its processes start while the first units are generated. Errors travel as rows, because an
exception would abort the whole Dataset.
"""

from __future__ import annotations

import traceback
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dentgen.documents import LedgerRecord
from dentgen.errors import DentgenError
from dentgen.redaction import shown
from dentgen.shards.ledger import commit, restore

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


def commit_made(batch: dict[str, np.ndarray], out: str, claims: Claims | None) -> dict[str, list[Any]]:
    """Commit or restore a generated unit: one row in, one row out, without the shard's bytes.

    Args:
        batch: A row of ``UnitMaker``.
        out: The build.
        claims: By unit, what is known of the bytes that were committed before; None to commit units anew.
    """
    unit, error = int(batch["unit"][0]), str(batch["error"][0])
    samples = 0
    if not error:
        try:
            record = LedgerRecord.model_validate_json(str(batch["record"][0]))
            publish(out, bytes(batch["shard"][0]), record, claims)
            samples = len(record.samples)
        except Exception as failure:  # noqa: BLE001 - travels as data and fails the build by name
            error = error_text(failure)
    return {"unit": [unit], "samples": [samples], "error": [error], "fatal": [bool(batch["fatal"][0])]}


def error_text(error: BaseException) -> str:
    """The text of a dentgen error; anything else with its traceback, without secrets in it."""
    return str(error) if isinstance(error, DentgenError) else shown("".join(traceback.format_exception(error)))
