"""What an actor generates units with: models and one engine that several units share."""

from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from typing import Final

import torch

from dentgen.conditions.readers.raw import ConditionShard
from dentgen.conditions.readers.source import list_shards
from dentgen.documents.units import Unit
from dentgen.errors import BuildError
from dentgen.generation.generator import load_planned_generator
from dentgen.generation.unit import generate_unit
from dentgen.pipeline.actors.crash_policy import quarantine_after_crashes
from dentgen.pipeline.actors.heartbeat import Beat
from dentgen.pipeline.actors.restarting_engine import RestartingEngine
from dentgen.pipeline.environment import environment_difference
from dentgen.shards.ledger import UnitResult
from dentgen.shards.plan import BuildLocation, Plan

#: One core encodes six to ten images of 512 pixels a second at PNG level 6; eight keep up with a fast GPU.
_MAX_PACKERS: Final = 8


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
