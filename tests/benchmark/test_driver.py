"""The benchmark of the driver: a law through its curve, and runs of real actors."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dentgen.benchmark.driver import AllReady, ManyUnits, Point, _law, _points, benchmark_driver
from dentgen.errors import BuildError, SpecError
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.spec.yaml_file import read_spec
from tests.conftest import ROOT


def ignore(*_: object) -> None:
    """Neither log nor progress."""


def test_units_are_as_many_as_asked_for() -> None:
    units = ManyUnits(1000)
    assert [unit.id for unit in units] == list(range(1000))
    assert [unit.id for unit in units[2:4]] == [2, 3]
    with pytest.raises(IndexError):
        units[1000]


def test_the_law_of_a_straight_curve_is_its_line() -> None:
    points = [Point(n, 2.0 * n, 0.5 + 0.001 * n) for n in range(50, 1001, 50)]
    law = _law(4, points)
    assert (law["actors"], law["units"], law["seconds"]) == (4, 1000, 2000)
    assert law["fixed_seconds"] == pytest.approx(0.5)
    assert law["seconds_per_unit"] == pytest.approx(0.001)
    assert law["worst_deviation"] == 0
    assert law["points"][0] == [50, 100, 0.55]
    bent = [Point(p.units, p.seconds, p.cpu_seconds + (p.units == 500)) for p in points]
    assert _law(4, bent)["worst_deviation"] > 0.3


def test_a_curve_has_twenty_points_and_counts_the_drivers_own_time() -> None:
    def outcomes(work: float) -> float:
        def each() -> object:
            for number in range(40):
                until = time.process_time() + work
                while time.process_time() < until:
                    pass
                yield UnitOutcome(number, 1)

        told: list[Point] = []
        points = list(_points(each(), 40, told.append))  # type: ignore[arg-type]
        assert [point.units for point in points] == list(range(2, 41, 2))
        assert told == points
        return points[-1].cpu_seconds

    assert outcomes(0.005) > 39 * 0.005 > outcomes(0)


def test_a_failed_unit_ends_the_measurement() -> None:
    with pytest.raises(BuildError) as caught:
        list(_points(iter([UnitOutcome(7, 0, "planted")]), 40, ignore))
    assert "000007" in caught.value.message


def test_units_wait_until_all_actors_were_idle_for_a_while() -> None:
    pool: Any = SimpleNamespace(members=[SimpleNamespace(node=""), SimpleNamespace(node="here")])
    ready = AllReady(2, idle_seconds=0.2)
    assert not ready(pool)
    time.sleep(0.25)
    assert not ready(pool), "one is not ready"
    pool.members[0].node = "here"
    assert not ready(pool)
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    time.sleep(0.15)
    assert ready(pool)
    assert ready.startup_seconds >= 0.25
    assert 0 < ready.idle_share <= 1
    pool.members[0].node = ""
    assert ready(pool), "one that is lost later stops nothing"


def test_too_few_units_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        benchmark_driver(
            read_spec(ROOT / "jobs/specs/demo.yaml"), str(tmp_path), [1], [39], log=ignore, progress=ignore
        )
    assert caught.value.key == "--units"


@pytest.mark.ray
@pytest.mark.slow
def test_actors_and_units_are_measured(tmp_path: Path, ray_local: None) -> None:
    spec, done = read_spec(ROOT / "jobs/specs/demo.yaml"), []
    figures = benchmark_driver(
        spec, str(tmp_path / "work"), [1, 2], [100], 2, log=ignore, progress=lambda *counts: done.append(counts)
    )
    assert all(0 < run["idle_share"] < 1 < run["startup_seconds"] for run in figures["runs"])
    assert done == [(units, 200) for units in range(5, 201, 5)], "an hour's run says how far it is"
    assert [(run["actors"], run["units"]) for run in figures["runs"]] == [(1, 100), (2, 100)]
    assert all(0 < run["seconds_per_unit"] < 1 for run in figures["runs"])
    assert set(figures["billion_samples_hours"]) == {"64", "512"}
