"""Units through Ray Data: separate operators, errors as rows, what actors reserve, and Ray Data's settings restored."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import ray.data

from dentgen.pipeline.actors import dataset
from dentgen.pipeline.actors.actor_work import UNITS_AT_ONCE
from dentgen.pipeline.actors.dataset import unit_dataset
from dentgen.pipeline.actors.watchdog import Watchdog
from dentgen.pipeline.actors.workers import Job, Workers
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.spec.pipeline import PipelineSpec
from tests.pipeline.actors.failing import FailingBackend, check_outcomes, failing_plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return failing_plan(tmp_path)


@pytest.mark.integration
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
        made = unit_dataset(Job(plan, plan.units, location, workers, watchdog.monitor)).materialize()
    (pool,) = pools
    assert pool["size"] == 1
    assert pool["max_concurrent_calls_per_actor"] == UNITS_AT_ONCE
    assert pool["max_tasks_in_flight_per_actor"] > UNITS_AT_ONCE, "the next one is there before one ends"
    stats, rows = made.stats(), {outcome.unit: outcome for outcome in dataset._outcomes(made)}
    assert "MapBatches(UnitMaker)" in stats
    assert "MapBatches(commit_made)" in stats
    assert "UnitMaker)->MapBatches" not in stats
    assert "->MapBatches(UnitMaker)" not in stats
    check_outcomes(rows, location.output)


@pytest.mark.ray
@pytest.mark.parametrize(("gpus", "reserved"), [(None, {"num_cpus": 0.5}), (0.25, {"num_cpus": 0, "num_gpus": 0.25})])
def test_actors_reserve_what_the_spec_says(
    plan: Plan, ray_local: None, gpus: float | None, reserved: dict[str, float]
) -> None:
    """On two CPUs, two actors leave one to the commits."""
    workers = Workers(settings=PipelineSpec(actors=2, gpus_per_actor=gpus), backend=FailingBackend)
    made = unit_dataset(Job(plan, plan.units, BuildLocation.of(plan.spec), workers, "monitor"))
    operator = made._logical_plan.dag
    while "UnitMaker" not in operator.name:
        (operator,) = operator.input_dependencies
    asked: dict[str, Any] = operator.ray_remote_args  # type: ignore[attr-defined]
    assert {name: asked[name] for name in reserved} == reserved


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
