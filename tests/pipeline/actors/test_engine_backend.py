"""The backend of an actor: the bytes of one process, overlapping units, and only where the plan fits this node."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dentgen.diffusion.canvas import Canvas, Sampled
from dentgen.errors import BuildError
from dentgen.generation import unit as unit_module
from dentgen.pipeline.actors.actor_work import UNITS_AT_ONCE
from dentgen.pipeline.actors.engine_backend import EngineBackend, _drains_per_unit, num_packers
from dentgen.pipeline.actors.heartbeat import Beat
from dentgen.pipeline.actors.restarting_engine import RestartingEngine
from dentgen.records import GeneratedSample
from dentgen.shards.ledger import UnitResult
from dentgen.shards.plan import BuildLocation, Plan
from tests.pipeline.actors.two_units import SECONDS, EngineWatch, TwoUnits, at_once
from tests.report.fake_builds import fake_plan


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory, demo_members: dict[str, dict[str, bytes]]) -> TwoUnits:
    return TwoUnits.of(tmp_path_factory.mktemp("two-units"), demo_members, fill="unit")


@pytest.fixture(scope="module")
def backend(units: TwoUnits) -> EngineBackend:
    return EngineBackend(units.plan, units.location)


@pytest.mark.parametrize(
    ("fill", "device", "drains"),
    [
        ("auto", "cpu", False), ("auto", "cuda", True),
        ("unit", "cpu", True), ("unit", "cuda", True),
        ("continuous", "cpu", False), ("continuous", "cuda", False),
    ],
)  # fmt: skip
def test_units_take_turns_where_asked_and_on_a_gpu(fill: str, device: str, drains: bool) -> None:
    assert _drains_per_unit(replace(fake_plan(engine={"fill": fill}), environment={"device": device})) is drains


@pytest.mark.integration
def test_a_unit_has_the_bytes_of_one_process(units: TwoUnits, backend: EngineBackend) -> None:
    unit = units.plan.units[1]
    made, whole = backend.make(unit, crashes=0), units.whole(1)
    assert made.shard == whole.shard
    assert made.record.model_dump(exclude={"timing"}) == whole.record.model_dump(exclude={"timing"})
    assert not backend.dead
    assert backend.describe(Beat("here process 1")).ticks >= units.plan.spec.sampling.steps


@pytest.mark.slow
def test_one_unit_is_packed_while_the_engine_samples_another(
    units: TwoUnits, backend: EngineBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The packed unit waits for a tick of the other one, whose tick waits until it is packed; both are made.

    The second unit enters the engine only once the first one is being packed, so neither can wait for something past.
    """
    expected = [units.whole(number).shard for number in (0, 1)]
    first = units.canvases(0)[0].key
    packing, ticking, packed = threading.Event(), threading.Event(), threading.Event()
    watch, tar_bytes, run = EngineWatch(), vars(unit_module)["tar_bytes"], RestartingEngine.run

    def pack(samples: Any) -> bytes:
        samples = list(samples)
        if samples[0][0] == first:
            packing.set()
            assert ticking.wait(SECONDS), "the engine is idle while a unit is packed"
            packed.set()
        return tar_bytes(samples)

    def tick(records: frozenset[str]) -> None:
        if packing.is_set():
            ticking.set()
            assert packed.wait(SECONDS)

    def enter(engine: RestartingEngine, prepared: Iterable[Canvas]) -> dict[str, Sampled]:
        canvases = list(prepared)
        assert canvases[0].key == first or packing.wait(SECONDS)
        return run(engine, canvases)

    watch.before_tick = tick
    watch.install(monkeypatch)
    monkeypatch.setattr(unit_module, "tar_bytes", pack)
    monkeypatch.setattr(RestartingEngine, "run", enter)
    made = at_once(makers(units, backend))
    assert [future.result().shard for future in made] == expected
    assert {len(records) for records in watch.held} == {1}


@pytest.mark.slow
def test_units_that_are_being_packed_leave_the_engine_another_one(
    tmp_path: Path, demo_members: dict[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sample is encoded before the engine has ticked for a third unit; one thread encodes, and all are made."""
    units = TwoUnits.of(tmp_path, demo_members, count=3, fill="unit")
    expected = [units.whole(number).shard for number in range(3)]
    third, watch, sample_members = threading.Event(), EngineWatch(), vars(unit_module)["sample_members"]

    def encode(plan: Plan, sample: GeneratedSample) -> dict[str, bytes]:
        assert third.wait(SECONDS / 4), "the engine has nothing to do while units are packed"
        assert threading.current_thread().name.startswith("dentgen-packer")
        return sample_members(plan, sample)

    def tick(records: frozenset[str]) -> None:
        if len(frozenset().union(*watch.held)) == 3:
            third.set()

    backend = EngineBackend(with_packers(units.plan, 1), units.location)
    watch.before_tick = tick
    watch.install(monkeypatch)
    monkeypatch.setattr(unit_module, "sample_members", encode)
    with ThreadPoolExecutor(UNITS_AT_ONCE) as pool:
        made = list(pool.map(lambda unit: backend.make(unit, crashes=0), units.plan.units))
    assert [unit.shard for unit in made] == expected


def with_packers(plan: Plan, packers: int | None) -> Plan:
    pipeline = plan.spec.pipeline.model_copy(update={"packers": packers})
    return replace(plan, spec=plan.spec.model_copy(update={"pipeline": pipeline}))


@pytest.mark.parametrize(
    ("packers", "device", "cpus", "threads"),
    [(None, "cpu", 16, 1), (None, "cuda", 16, 8), (None, "cuda", 4, 3), (None, "cuda", 1, 1), (5, "cpu", 2, 5)],
)
def test_packers_leave_a_core_to_the_engine(
    packers: int | None, device: str, cpus: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cpus)))
    plan = replace(with_packers(fake_plan(), packers), environment={"device": device})
    assert num_packers(plan) == threads


@pytest.mark.slow
def test_canvases_of_two_units_are_never_in_the_engine_at_once(
    units: TwoUnits, backend: EngineBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every tick leaves the other unit the time to submit its canvases."""
    pause, watch = threading.Event(), EngineWatch()
    watch.before_tick = lambda _: pause.wait(0.05)
    watch.install(monkeypatch)
    for future in at_once(makers(units, backend)):
        assert future.result().record.written == 2
    assert {len(records) for records in watch.held} == {1}
    assert len(frozenset().union(*watch.held)) == 2


def makers(units: TwoUnits, backend: EngineBackend) -> list[Callable[[], UnitResult]]:
    return [lambda unit=unit: backend.make(unit, crashes=0) for unit in units.plan.units]  # type: ignore[misc]


def test_a_node_that_differs_from_the_plan_makes_nothing(units: TwoUnits) -> None:
    plan = replace(units.plan, environment={**units.plan.environment, "torch": "1.0"})
    with pytest.raises(BuildError) as caught:
        EngineBackend(plan, units.location).make(plan.units[0], crashes=0)
    assert all(fact in caught.value.message for fact in ("torch", "1.0", torch.__version__))


def test_a_missing_condition_shard_is_an_error_that_names_it(units: TwoUnits, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes((Path(units.location.source) / "a.tar").read_bytes())
    location = BuildLocation(str(tmp_path), units.location.output)
    with pytest.raises(BuildError) as caught:
        EngineBackend(units.plan, location).make(units.plan.units[0], crashes=0)
    assert caught.value.file == str(tmp_path)
    assert "a.tar" in caught.value.found
