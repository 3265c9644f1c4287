"""The two Ray stages: an actor that makes units and a task that commits them.

An exception that leaves the actor would abort the whole Dataset, so errors travel as rows. Refuses to know planning.
"""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import numpy as np

from dentgen.conditions.sources import ConditionShard, list_shards
from dentgen.diffusion.driver import EngineDriver
from dentgen.errors import BuildError
from dentgen.generate import generate_unit, make_engine, start_generation
from dentgen.pipeline.plan import environment
from dentgen.records import LedgerRecord, Plan, Unit
from dentgen.shards.ledger import commit
from dentgen.spec import BuildSpec, spec_difference

Row = dict[str, Any]


class UnitMaker:
    """A Ray actor with one engine; several units feed it at once, so that it does not drain between them."""

    def __init__(self, plan_json: str, pending: list[int]) -> None:
        """Load models once per actor."""
        self._plan = Plan.model_validate_json(plan_json)
        spec = BuildSpec.model_validate(self._plan.spec)
        self._units = {unit.id: unit for unit in self._plan.units}
        self._pending = pending
        self._shards = {shard.name: shard for shard in list_shards(spec.source.path, spec.source.format)}
        # a node with other libraries or another processor would make other bytes under the same names
        self._difference = spec_difference(self._plan.environment, environment(spec))
        self._generation = start_generation(self._plan)
        self._driver = EngineDriver(make_engine(self._generation))
        self._one_at_a_time = asyncio.Lock() if _drains_per_unit(spec, self._plan) else None

    async def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """Make the unit that a row numbers; one row in, one row out."""
        unit = self._units[self._pending[int(batch["id"][0])]]
        if self._one_at_a_time is None:
            row = await asyncio.to_thread(self._make, unit)
        else:
            async with self._one_at_a_time:
                row = await asyncio.to_thread(self._make, unit)
        return {name: [value] for name, value in row.items()}

    def _make(self, unit: Unit) -> Row:
        try:
            result = generate_unit(self._generation, unit, self._shard(unit), self._driver.run)
        except Exception:  # noqa: BLE001 - whatever went wrong travels as data and fails the build by name
            return {"unit": unit.model_dump_json(), "shard": b"", "record": "", "error": traceback.format_exc()}
        record = result.record.model_dump_json()
        return {"unit": unit.model_dump_json(), "shard": result.shard, "record": record, "error": ""}

    def _shard(self, unit: Unit) -> ConditionShard:
        if self._difference:
            raise BuildError("this node differs from the plan: " + "; ".join(self._difference))
        if unit.shard not in self._shards:
            raise BuildError(f"unit {unit.name}: condition shard {unit.shard} is gone from the source")
        return self._shards[unit.shard]


def commit_made(batch: dict[str, np.ndarray], out: str) -> dict[str, list[Any]]:
    """Publish a made unit: one row in, one row out, without the shard's bytes.

    Runs as a task of its own beside the actors, so that putting overlaps with the engine.
    """
    unit, error = Unit.model_validate_json(str(batch["unit"][0])), str(batch["error"][0])
    written = rejected = 0
    if not error:
        try:
            record = LedgerRecord.model_validate_json(str(batch["record"][0]))
            commit(out, unit, bytes(batch["shard"][0]), record)
            written, rejected = record.written, record.rejected
        except Exception:  # noqa: BLE001 - as above
            error = traceback.format_exc()
    return {"unit": [unit.id], "written": [written], "rejected": [rejected], "error": [error]}


def _drains_per_unit(spec: BuildSpec, plan: Plan) -> bool:
    """Until row bits are known not to depend on neighbours on a GPU, units take turns there."""
    return spec.engine.fill == "unit" or (spec.engine.fill == "auto" and plan.environment["device"] != "cpu")
