"""The estimate: measured on a few samples of the build itself, which leaves no trace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dentgen.documents.units import Unit
from dentgen.pipeline.estimate import Estimate, estimate
from dentgen.pipeline.plan import make_plan
from dentgen.shards.plan import Plan
from tests.conftest import small_spec


def plan_of(source: Path, out: Path, **sampling: object) -> Plan:
    return make_plan(small_spec(source, out, sampling={"variants": 2, "steps": 1, **sampling}))


def test_duration_and_size_are_extrapolated() -> None:
    found = Estimate(probed=4, startup_seconds=10.0, seconds_per_sample=0.5, bytes_per_sample=2e5)
    assert found.seconds(samples=1000, actors=4) == 10 + 1000 * 0.5 / 4
    line = found.describe(samples=1000, actors=4)
    assert all(fact in line for fact in ("200.0 MB", "0:02:15", "4 samples"))


def test_hours_and_money_are_those_of_all_actors_together() -> None:
    found = Estimate(probed=4, startup_seconds=90.0, seconds_per_sample=0.36, bytes_per_sample=1)
    assert found.hours(samples=10_000, actors=4) == (4 * 90 + 3600) / 3600
    assert found.describe_cost(10_000, 4, "GPU", price=2.5) == [
        "this build: 1.1 GPU hours, 2.75 at 2.5 an hour", "a million samples: 100 GPU hours, 250.00 at 2.5 an hour",
    ]  # fmt: skip
    assert found.describe_cost(10_000, 4, "CPU") == ["this build: 1.1 CPU hours", "a million samples: 100 CPU hours"]


@pytest.mark.integration
def test_a_few_samples_are_measured_and_nothing_is_written(small_source: Path, tmp_path: Path) -> None:
    plan = plan_of(small_source, tmp_path / "out")
    torch.set_num_threads(2)
    try:
        found = estimate(plan, str(small_source))
        assert torch.get_num_threads() == 2, "the caller's number, not the plan's"
    finally:
        torch.set_num_threads(1)
    assert found is not None
    assert found.probed == 4, "two records of two variants fill the four slots"
    assert found.startup_seconds > 0
    assert found.seconds_per_sample > 0
    assert 1000 < found.bytes_per_sample < 100_000
    assert not (tmp_path / "out").exists()


def test_without_a_readable_unit_there_is_no_estimate(small_source: Path, tmp_path: Path) -> None:
    plan = plan_of(small_source, tmp_path / "out")
    broken = Unit(id=0, shard="a.tar", start=0, stop=1, records=1, shard_bytes=1, problem="a.tar: broken")
    assert estimate(replace(plan, units=type(plan.units).of([broken])), str(small_source)) is None


def test_without_a_usable_record_there_is_no_estimate(small_source: Path, tmp_path: Path) -> None:
    plan = plan_of(small_source, tmp_path / "out", prompt="teeth " * 90)
    assert estimate(plan, str(small_source)) is None
