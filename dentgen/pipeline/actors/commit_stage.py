"""The Ray stage that commits units: a task beside the actors, so that putting overlaps with the engine.

Imports nothing heavy: its processes start while the first units are made. Errors travel as rows, because an exception
would abort the whole Dataset. Refuses to know how units are made.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

import numpy as np

from dentgen.documents import LedgerRecord, Unit
from dentgen.errors import DentgenError
from dentgen.shards.ledger import commit, restore


@dataclass(frozen=True, slots=True)
class UnitOutcome:
    """What became of a unit: the samples that were committed, or an error, which may be one that ends everything."""

    unit: int
    samples: int
    error: str = ""
    fatal: bool = False


def commit_made(batch: dict[str, np.ndarray], out: str, *, restoring: bool) -> dict[str, list[Any]]:
    """Publish a made unit, or put it back: one row in, one row out, without the shard's bytes."""
    unit, error = Unit.model_validate_json(str(batch["unit"][0])), str(batch["error"][0])
    samples = 0
    if not error:
        try:
            record = LedgerRecord.model_validate_json(str(batch["record"][0]))
            (restore if restoring else commit)(out, unit, bytes(batch["shard"][0]), record)
            samples = len(record.samples)
        except Exception as failure:  # noqa: BLE001 - it travels as data and fails the build by name
            error = error_text(failure)
    return {"unit": [unit.id], "samples": [samples], "error": [error], "fatal": [bool(batch["fatal"][0])]}


def error_text(error: BaseException) -> str:
    """What dentgen raises on purpose says enough; anything else needs its trace."""
    return str(error) if isinstance(error, DentgenError) else "".join(traceback.format_exception(error))
