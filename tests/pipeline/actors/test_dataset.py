"""Units through Ray: separate operators, errors as rows, and Ray Data's settings restored."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.data

from dentgen.benchmark.overhead import InstantBackend
from dentgen.documents import Unit
from dentgen.errors import BuildError, SpecError
from dentgen.generation.unit import UnitResult
from dentgen.pipeline.actors import dataset
from dentgen.pipeline.actors.dataset import Workers, make_with_ray, unit_dataset
from dentgen.pipeline.actors.heartbeat import Watchdog
from dentgen.pipeline.actors.unit_maker import UNITS_AT_ONCE
from dentgen.pipeline.plan import make_plan
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.ledger import committed_units
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.shards.tar import tar_bytes
from dentgen.spec.build import PipelineSpec
from tests.conftest import small_spec


class FailingBackend(InstantBackend):
    """Fails at one unit, and is dead from another one on."""

    @property
    def dead(self) -> bool:  # type: ignore[override]
        """As an engine that died twice."""
        return self._dead

    _dead = False

    def make(self, unit: Unit, crashes: int) -> UnitResult:
        if unit.id == 1:
            raise BuildError("planted", key=f"unit {unit.name}")
        if unit.id == 2:
            self._dead = True
            raise MemoryError("planted")
        return super().make(unit, crashes)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A plan of three units without any map."""
    (tmp_path / "conditions").mkdir()
    (tmp_path / "conditions" / "a.tar").write_bytes(tar_bytes((f"r{number}", {"json": b"{}"}) for number in range(3)))
    sections: dict[str, dict[str, object]] = {"sampling": {"variants": 1}, "pipeline": {"samples_per_shard": 1}}
    return make_plan(small_spec(tmp_path / "conditions", tmp_path / "out", **sections))


@pytest.mark.ray
def test_reading_generating_and_committing_are_separate_operators_and_errors_travel_as_rows(
    plan: Plan, ray_local: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fused, the commit would run on the actor's event loop and stall the engine."""
    location, strategy, pools = BuildLocation.of(plan.spec), ray.data.ActorPoolStrategy, list[dict[str, Any]]()

    def noted(**settings: Any) -> ray.data.ActorPoolStrategy:
        pools.append(settings)
        return strategy(**settings)

    monkeypatch.setattr(ray.data, "ActorPoolStrategy", noted)
    with Watchdog(30) as watchdog:
        workers = Workers(backend=FailingBackend)
        made = unit_dataset(plan, plan.units, location, workers, watchdog.monitor).materialize()
    (pool,) = pools
    assert pool["max_concurrent_calls_per_actor"] == UNITS_AT_ONCE
    assert pool["max_tasks_in_flight_per_actor"] > UNITS_AT_ONCE, "the next one is there before one ends"
    stats, rows = made.stats(), {outcome.unit: outcome for outcome in dataset._outcomes(made)}
    assert "MapBatches(UnitMaker)" in stats
    assert "MapBatches(commit_made)" in stats
    assert "UnitMaker)->MapBatches" not in stats
    assert "->MapBatches(UnitMaker)" not in stats
    assert rows[0] == UnitOutcome(0, 1, bytes=rows[0].bytes)
    assert rows[0].bytes > 0
    assert "unit 000001" in rows[1].error
    assert "Traceback" not in rows[1].error
    assert "MemoryError" in rows[2].error
    assert rows[2].fatal, "the backend is dead"
    assert committed_units(location.output) == {"000000"}


def test_settings_of_ray_data_are_restored() -> None:
    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    before = context.max_errored_blocks, context.enable_progress_bars, logger.level
    context.max_errored_blocks, context.enable_progress_bars = 7, True
    logger.setLevel(logging.DEBUG)
    try:
        with dataset._quiet_ray_data():
            assert (context.max_errored_blocks, context.enable_progress_bars) == (0, False)
            assert logger.level == logging.ERROR
        assert (context.max_errored_blocks, context.enable_progress_bars) == (7, True)
        assert logger.level == logging.DEBUG
    finally:
        context.max_errored_blocks, context.enable_progress_bars = before[:2]
        logger.setLevel(before[2])


def test_a_relative_output_of_a_submitted_job_is_refused(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(SpecError) as caught:
        make_with_ray(
            plan, plan.units, BuildLocation("/in", "out"), Workers(), collect=lambda _: None
        )  # fmt: skip
    assert (caught.value.key, caught.value.found) == ("output.path", "out")


def test_the_last_line_of_an_error_of_ray_is_its_cause() -> None:
    error = ray.exceptions.RayError("a trace\n  more of it\nValueError: planted\n\n")
    assert dataset._cause(error).endswith("ValueError: planted")
    assert "RayError" in dataset._cause(ray.exceptions.RayError(""))


def test_actors_get_the_settings_of_this_run_and_no_units(plan: Plan) -> None:
    """The plan has those of the run that began the build."""
    settings = PipelineSpec(packers=3, stall_seconds=77)
    sent = dataset._for_actors(plan, Workers(settings=settings, fill="unit"))
    assert (sent.spec.pipeline, sent.spec.engine.fill, len(sent.units)) == (settings, "unit", 0)
    assert sent.spec_digest == plan.spec_digest
    assert dataset._for_actors(plan, Workers()).spec.engine == plan.spec.engine


@pytest.mark.parametrize(("available", "actors", "cpus"), [(2, 1, 1.0), (2, 2, 0.5), (8, 2, 1.0), (1, 1, 0.0)])
def test_actors_leave_a_cpu_to_the_commit_tasks(
    available: float, actors: int, cpus: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": available})
    assert dataset._actor_cpus(actors) == cpus
