"""The Ray stage that makes units: an actor with a backend, which has an engine that lasts.

An exception that leaves the actor would abort the whole Dataset, so errors travel as rows. Refuses to know planning.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from dentgen.conditions.readers.raw import ConditionShard
from dentgen.conditions.readers.source import list_shards
from dentgen.documents import Unit
from dentgen.errors import BuildError
from dentgen.generation.generator import load_generator
from dentgen.generation.unit import UnitResult, generate_unit
from dentgen.pipeline.actors.commit_stage import error_text
from dentgen.pipeline.actors.crash_policy import UnitGate, quarantine_after_crashes
from dentgen.pipeline.actors.heartbeat import Beat, Heartbeat
from dentgen.pipeline.actors.restarting_engine import RestartingEngine
from dentgen.pipeline.environment import environment
from dentgen.shards.plan import Plan
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import spec_difference

_LOG = logging.getLogger(__name__)

Row = dict[str, Any]


class UnitBackend(Protocol):
    """Where an actor makes its units, several at once if they need not take turns."""

    @property
    def takes_turns(self) -> bool:
        """Whether one unit must be made before the next is begun."""
        ...

    @property
    def dead(self) -> bool:
        """Whether nothing can be made here any more."""
        ...

    def make(self, unit: Unit, crashes: int) -> UnitResult:
        """Make a unit, over which so many processes died before."""
        ...

    def describe(self, beat: Beat) -> Beat:
        """Add what is done here to a beat."""
        ...


class UnitMaker:
    """A Ray actor with one backend."""

    def __init__(self, plan_json: str, pending: list[int], pulse: Any, backend: Callable[[Plan], UnitBackend]) -> None:
        """Set up the backend, once per actor."""
        self._heart = Heartbeat(pulse)
        plan = Plan.model_validate_json(plan_json)
        self._units = {unit.id: unit for unit in plan.units}
        self._pending = pending
        self._workshop = backend(plan)
        self._turns = UnitGate()
        self._one_at_a_time = asyncio.Lock() if self._workshop.takes_turns else None
        self._heart.ready(self._workshop.describe)

    def __del__(self) -> None:
        """Ray Data drops an actor's instance when it has no more work for it."""
        self._heart.stop()

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
        """A unit over which a process died is made alone: if it happens again, no other is to blame."""
        crashes = self._heart.crashes(unit.name)
        with self._turns.turn(alone=crashes > 0), self._heart.at_work(unit.name):
            return self._row(unit, crashes)

    def _row(self, unit: Unit, crashes: int) -> Row:
        row: Row = {"unit": unit.model_dump_json(), "shard": b"", "record": "", "error": "", "fatal": False}
        try:
            result = self._workshop.make(unit, crashes)
            return {**row, "shard": result.shard, "record": result.record.model_dump_json()}
        except Exception as error:  # noqa: BLE001 - whatever went wrong travels as data and fails the build by name
            return {**row, "error": error_text(error), "fatal": self._workshop.dead}


class EngineBackend:
    """Models and one engine; several units feed it at once, so that it does not drain between them."""

    def __init__(self, plan: Plan) -> None:
        """Load the models."""
        spec = BuildSpec.model_validate(plan.spec)
        self._shards = {shard.name: shard for shard in list_shards(spec.source.path, spec.source.format)}
        # a node with other libraries or another processor would make other bytes under the same names
        self._difference = spec_difference(plan.environment, environment(spec))
        generator = load_generator(plan)
        self._engine = RestartingEngine(generator)
        self._generation = replace(generator, codec=generator.codec.through(self._engine.call))
        self.takes_turns = _drains_per_unit(spec, plan)

    @property
    def dead(self) -> bool:
        """Whether the engine is."""
        return self._engine.dead

    def make(self, unit: Unit, crashes: int) -> UnitResult:
        """Make a unit with the engine; records that killed their readers are found first."""
        shard = self._shard(unit)
        quarantine = quarantine_after_crashes(self._generation.spec, unit, shard, crashes)
        return generate_unit(self._generation, unit, shard, self._engine.run, quarantine)

    def describe(self, beat: Beat) -> Beat:
        """Add what the engine does."""
        return self._engine.describe(beat)

    def _shard(self, unit: Unit) -> ConditionShard:
        if self._difference:
            raise BuildError("this node differs from the plan: " + "; ".join(self._difference))
        if unit.shard not in self._shards:
            raise BuildError(f"unit {unit.name}: condition shard {unit.shard} is gone from the source")
        return self._shards[unit.shard]


def _drains_per_unit(spec: BuildSpec, plan: Plan) -> bool:
    """Until row bits are known not to depend on neighbours on a GPU, units take turns there."""
    return spec.engine.fill == "unit" or (spec.engine.fill == "auto" and plan.environment["device"] != "cpu")
