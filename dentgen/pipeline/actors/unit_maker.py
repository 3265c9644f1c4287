"""The callable that Ray Data maps over units: a row with a unit becomes a row with what an actor made of it."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from dentgen.pipeline.actors.actor_work import ActorWork
from dentgen.pipeline.actors.unit_rows import unit_of_row
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.ledger import UnitResult

Row = dict[str, Any]


class UnitMaker:
    """A Ray Data actor; errors travel as rows, because an exception would abort the whole Dataset."""

    _work: ActorWork | None = None

    def __init__(self, *arguments: Any) -> None:
        """Start the work, with its arguments, once per actor."""
        self._work = ActorWork(*arguments)

    def __del__(self) -> None:
        """Ray Data drops an actor's instance when it has no more work for it."""
        if self._work is not None:  # it may not have started
            self._work.stop()

    async def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """Generate the unit of a row: one row in, one row out."""
        assert self._work is not None
        made = await asyncio.to_thread(self._work.make, unit_of_row(str(batch["unit"][0])))
        return {name: [value] for name, value in _row(made).items()}


def _row(made: UnitResult | UnitOutcome) -> Row:
    """The row of a made unit, or of one that failed; ``commit_made`` takes it."""
    if isinstance(made, UnitOutcome):
        return {"unit": made.unit, "shard": b"", "record": "", "error": made.error, "fatal": made.fatal}
    record = made.record
    return {
        "unit": record.unit, "shard": made.shard, "record": record.model_dump_json(), "error": "", "fatal": False,
    }  # fmt: skip
