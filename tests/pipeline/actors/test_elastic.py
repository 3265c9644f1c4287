"""Units through an elastic pool: commits beside the actors, errors told, and limits of the number of actors."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.pipeline.actors.actor_work import QUEUED, UNITS_AT_ONCE
from dentgen.pipeline.actors.elastic import dispatcher, make_with_pool
from dentgen.pipeline.actors.placement import Node
from dentgen.pipeline.actors.watchdog import Watchdog
from dentgen.pipeline.actors.workers import Job, Workers, make_with_ray
from dentgen.pipeline.tally import Tally
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.ledger import read_ledgers
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.spec.pipeline import PipelineSpec
from tests.pipeline.actors.failing import FailingBackend, check_outcomes, failing_plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return failing_plan(tmp_path)


def elastic(least: int, most: int) -> Workers:
    settings = PipelineSpec.model_validate({"actors": {"min": least, "max": most}})
    return Workers(settings=settings, backend=FailingBackend)


@pytest.mark.ray
def test_units_are_committed_beside_the_actors_and_errors_are_told(plan: Plan, ray_local: None) -> None:
    """Commits in the actor would take the time of its engine."""
    found: dict[int, UnitOutcome] = {}
    tally, alive = Tally(), list[int]()

    def collect(outcomes: object) -> None:
        for outcome in outcomes:  # type: ignore[attr-defined]
            found[outcome.unit] = outcome
            alive.append(tally.actors())

    reports = make_with_ray(
        plan, plan.units, BuildLocation.of(plan.spec), elastic(1, 1), make_with_pool, tally=tally, collect=collect
    )
    check_outcomes(found, plan.spec.output.path)
    assert found[0].put_seconds > 0
    assert set(alive) <= {0, 1}
    assert tally.actors() == 0, "none is left"
    (timing,) = [record.timing for record in read_ledgers(plan.spec.output.path, ["000000"])]
    assert timing is not None
    assert len(reports) <= 1, "none, if it ended before the watchdog looked"
    assert all(str(timing.worker.rpartition(":")[2]) in report.beat.place for report in reports)


@pytest.mark.ray
def test_the_pool_has_the_limits_of_the_spec(plan: Plan, ray_local: None) -> None:
    with Watchdog(30) as watchdog:
        location = BuildLocation.of(plan.spec)
        found = dispatcher(Job(plan, plan.units, location, elastic(2, 3), watchdog.monitor, {}))
    pool = found.pool
    assert (pool._fewest, pool._most, pool._units_each) == (2, 3, UNITS_AT_ONCE + QUEUED)
    assert pool._reservation.room([Node("n", 9, 0)]) == 16, "half a CPU each: two actors on two CPUs leave one"
    assert (found.claims, found.out) == ({}, plan.spec.output.path)
