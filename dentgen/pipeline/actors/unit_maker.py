"""The Ray actor that generates units, and the backend inside it: models and one engine that several units share."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final, Protocol

import numpy as np
import torch

from dentgen import storage
from dentgen.conditions.readers.raw import ConditionShard
from dentgen.conditions.readers.source import list_shards
from dentgen.documents import LedgerRecord, Unit
from dentgen.errors import BuildError
from dentgen.generation.generator import load_planned_generator
from dentgen.generation.unit import UnitResult, generate_unit
from dentgen.logs import LogFormat, log_context
from dentgen.pipeline.actors.commit_stage import error_text, log_as_driver
from dentgen.pipeline.actors.crash_policy import UnitGate, quarantine_after_crashes
from dentgen.pipeline.actors.heartbeat import Beat, Heartbeat
from dentgen.pipeline.actors.metrics import ActorMetrics
from dentgen.pipeline.actors.restarting_engine import RestartingEngine
from dentgen.pipeline.actors.unit_rows import unit_of_row
from dentgen.pipeline.environment import environment_difference
from dentgen.shards.plan import BuildLocation, Plan

_LOG = logging.getLogger(__name__)

Row = dict[str, Any]

#: Units that an actor works on at once: one in the engine, one ready to follow it, and two of which one may still be
#: packed while the other is decoded. With fewer, a unit that is being packed takes the place of the one that the engine
#: needs next; more would only take memory.
UNITS_AT_ONCE: Final = 4
#: One core encodes six to ten images of 512 pixels a second at PNG level 6; eight keep up with a fast GPU.
_MAX_PACKERS: Final = 8


class UnitBackend(Protocol):
    """Generates units inside an actor, several at once from several threads."""

    @property
    def dead(self) -> bool:
        """Whether nothing can be generated here any more."""
        ...

    def make(self, unit: Unit, crashes: int) -> UnitResult:
        """Generate a unit that has crashed ``crashes`` processes before."""
        ...

    def describe(self, beat: Beat) -> Beat:
        """Add the engine's progress to a heartbeat."""
        ...

    def take_waits(self) -> list[float]:
        """Seconds that canvases waited for slots which got them since the last call."""
        ...


class UnitMaker:
    """A Ray actor with one backend; errors travel as rows, because an exception would abort the whole Dataset."""

    def __init__(
        self,
        plan: Plan,
        location: BuildLocation,
        monitor: Any,
        backend: Callable[[Plan, BuildLocation], UnitBackend],
        log_format: LogFormat = "text",
    ) -> None:
        """Start the heartbeat, then the backend, once per actor, and log as the driver does."""
        log_as_driver(log_format)
        self._build = storage.without_secrets(location.output)
        self._heartbeat = Heartbeat(monitor)
        self._metrics = ActorMetrics()
        self._backend = backend(plan, location)
        self._gate = UnitGate()
        self._heartbeat.ready(self._backend.describe, self._observe)

    def __del__(self) -> None:
        """Ray Data drops an actor's instance when it has no more work for it."""
        self._heartbeat.stop()
        self._metrics.stopped()

    def _observe(self, beat: Beat) -> None:
        self._metrics.beat(beat, self._backend.take_waits())

    async def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """Generate the unit of a row: one row in, one row out."""
        row = await asyncio.to_thread(self._make, unit_of_row(str(batch["unit"][0])))
        return {name: [value] for name, value in row.items()}

    def _make(self, unit: Unit) -> Row:
        """A unit that crashed a process before runs alone: if it happens again, no other unit is to blame."""
        crashes = self._heartbeat.crashes(unit.name)
        with self._gate.enter(alone=crashes > 0), self._heartbeat.tracking(unit.name) as attempt:
            self._metrics.unit(attempt)
            with log_context(build=self._build, unit=unit.name, attempt=attempt):
                return self._row(unit, crashes, attempt)

    def _row(self, unit: Unit, crashes: int, attempt: int) -> Row:
        row: Row = {"unit": unit.id, "shard": b"", "record": "", "error": "", "fatal": False}
        try:
            result = self._backend.make(unit, crashes)
            self._metrics.encoded(result.encode_seconds)
            _log_result(result)
            return {**row, "shard": result.shard, "record": _numbered(result.record, attempt).model_dump_json()}
        except Exception as error:  # noqa: BLE001 - travels as data and fails the build by name
            return {**row, "error": error_text(error), "fatal": self._backend.dead}


class EngineBackend:
    """Models and one engine. While it samples one unit, others are read, decoded and packed."""

    def __init__(self, plan: Plan, location: BuildLocation, packers: Executor | None = None) -> None:
        """Load the models; an actor's process is the build's own, so torch's threads are set for good."""
        torch.set_num_threads(plan.spec.engine.threads)
        plan = plan.at(location)
        self._plan, self._location = plan, location
        shards = list_shards(location.source, plan.spec.source.format, log=False)
        self._shards = {shard.name: shard for shard in shards}
        # a node with other libraries or another processor would produce other bytes under the same names
        self._difference = environment_difference(plan) if plan.spec.pipeline.environment == "refuse" else []
        generator = load_planned_generator(plan)
        self._engine = RestartingEngine(generator, drain_per_call=_drains_per_unit(plan))
        self._packers = packers or ThreadPoolExecutor(num_packers(plan), thread_name_prefix="dentgen-packer")
        self._generator = replace(generator, codec=generator.codec.through(self._engine.call))

    @property
    def dead(self) -> bool:
        """Whether the engine is."""
        return self._engine.dead

    @property
    def between_ticks(self) -> tuple[float, float]:
        """Seconds from the engine's first tick to its last one, and how many of them it was busy."""
        return self._engine.between_ticks

    def make(self, unit: Unit, crashes: int) -> UnitResult:
        """Generate a unit; records that crashed their readers are found first and rejected."""
        shard = self._shard(unit)
        quarantine = quarantine_after_crashes(self._plan.spec, unit, shard, crashes)
        return generate_unit(self._plan, self._generator, unit, shard, self._engine.run, quarantine, self._packers)

    def describe(self, beat: Beat) -> Beat:
        """Add the engine's progress."""
        return self._engine.describe(beat)

    def take_waits(self) -> list[float]:
        """As of the engine."""
        return self._engine.take_waits()

    def _shard(self, unit: Unit) -> ConditionShard:
        if self._difference:
            raise BuildError("this node differs from the plan: " + "; ".join(self._difference))
        if unit.shard not in self._shards:
            raise BuildError(file=self._location.source, found=f"no condition shard {unit.shard}", expected="it there")
        return self._shards[unit.shard]


def _log_result(result: UnitResult) -> None:
    """Say what became of a unit, and of each of its rejected samples."""
    for sample in result.record.samples:
        if sample.status == "rejected":
            _LOG.info("rejected: %s", sample.reason, extra={"key": sample.key})
    seconds = 0.0 if result.record.timing is None else result.record.timing.seconds
    _LOG.info("%d samples in %.1f s, %d rejected", result.record.written, seconds, result.record.rejected)


def _numbered(record: LedgerRecord, attempt: int) -> LedgerRecord:
    """The record with the number of the attempt, beside its times: nothing that must be equal between attempts."""
    if record.timing is None:
        return record
    return record.model_copy(update={"timing": record.timing.model_copy(update={"attempt": attempt})})


def num_packers(plan: Plan) -> int:
    """Threads that encode samples: the spec's, or those that leave a GPU's own thread a core.

    Without a GPU the networks need the cores, and an image costs far more to generate than to encode.
    """
    chosen, on_gpu = plan.spec.pipeline.packers, plan.environment["device"] != "cpu"
    available = min(_MAX_PACKERS, max(1, len(os.sched_getaffinity(0)) - 1)) if on_gpu else 1
    return available if chosen is None else chosen


def _drains_per_unit(plan: Plan) -> bool:
    """Until row bits are known not to depend on neighbours on a GPU, no two units are in the engine at once there."""
    fill = plan.spec.engine.fill
    return fill == "unit" or (fill == "auto" and plan.environment["device"] != "cpu")
