"""Two or more units of one small plan, their models, and a watch over whose canvases an engine holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from dentgen.conditions.readers.source import list_shards
from dentgen.conditions.unit_records import read_unit
from dentgen.diffusion.canvas import Canvas, Failed, Finished
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.generation.canvases import build_canvases
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import Generator, load_planned_generator
from dentgen.generation.requests import sample_requests
from dentgen.generation.unit import generate_unit
from dentgen.pipeline.plan import make_plan
from dentgen.shards.ledger import UnitResult
from dentgen.shards.plan import BuildLocation, Plan
from tests.conftest import small_spec, write_tar

#: Longest wait for another thread; nothing passes or fails by how long it takes.
SECONDS = 120
Result = TypeVar("Result")


@dataclass
class TwoUnits:
    """A plan of two units, or more, of one record in two variants each."""

    plan: Plan
    location: BuildLocation
    generator: Generator

    @classmethod
    def of(cls, folder: Path, demo_members: dict[str, dict[str, bytes]], count: int = 2, **engine: object) -> TwoUnits:
        """Write the source and load the models; ``engine`` are keys of the spec's section."""
        keys = sorted(demo_members)[:count]
        write_tar(folder / "conditions" / "a.tar", {key: demo_members[key] for key in keys})
        spec = small_spec(
            folder / "conditions", folder / "out", pipeline={"samples_per_shard": 2}, engine={"slots": 4, **engine}
        )
        plan = make_plan(spec)
        return cls(plan, BuildLocation.of(spec), load_planned_generator(plan))

    def canvases(self, unit: int) -> list[Canvas]:
        """The canvases of a unit."""
        (shard,) = list_shards(self.location.source)
        records, _ = read_unit(self.plan.spec, self.plan.units[unit], shard)
        requests = [request for record in records for request in sample_requests(self.generator, record)]
        return build_canvases(self.generator, requests)

    def whole(self, unit: int) -> UnitResult:
        """The unit as one process generates it."""
        (shard,) = list_shards(self.location.source)
        return generate_unit(self.plan, self.generator, self.plan.units[unit], shard, start_engine(self.generator).run)


@dataclass
class EngineWatch:
    """Which records' canvases engines hold, at every tick.

    Attributes:
        held: Keys of the condition records at every tick.
        before_tick: Called in the engine's thread with the keys that it holds.
    """

    held: list[frozenset[str]] = field(default_factory=list)
    before_tick: Callable[[frozenset[str]], object] = lambda records: None
    _keys: set[str] = field(default_factory=set)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Watch every engine of this process."""
        submit, tick = DiffusionEngine.submit, DiffusionEngine.tick

        def watched_submit(engine: DiffusionEngine, canvas: Canvas) -> None:
            self._keys.add(canvas.key)
            submit(engine, canvas)

        def watched_tick(engine: DiffusionEngine) -> list[Finished | Failed]:
            records = frozenset(key.rpartition("-v")[0] for key in self._keys)
            if records:  # none while an engine warms up
                self.held.append(records)
                self.before_tick(records)
            outcomes = tick(engine)
            self._keys -= {outcome.key for outcome in outcomes}
            return outcomes

        monkeypatch.setattr(DiffusionEngine, "submit", watched_submit)
        monkeypatch.setattr(DiffusionEngine, "tick", watched_tick)


def until(condition: Callable[[], object], seconds: float = SECONDS) -> bool:
    """Wait for a condition; returns whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def at_once(works: Sequence[Callable[[], Result]]) -> list[Future[Result]]:
    """Run work in a thread each, started together, and wait for all."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], Result]) -> Result:
        barrier.wait(SECONDS)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [pool.submit(run, work) for work in works]
