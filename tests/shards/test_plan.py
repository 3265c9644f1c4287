"""The plan: what it plans, and the places that are kept out of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dentgen.shards.plan import BuildLocation
from tests.conftest import small_spec
from tests.report.fake_builds import fake_plan


def test_planned_samples_are_records_times_variants() -> None:
    assert fake_plan((3, 1, 2), sampling={"variants": 5}).planned == 30


def test_a_location_starts_as_the_places_of_the_spec(tmp_path: Path) -> None:
    spec = small_spec(tmp_path / "in", tmp_path / "out")
    assert BuildLocation.of(spec) == BuildLocation(str(tmp_path / "in"), str(tmp_path / "out"), "miniature")


def test_a_version_has_what_was_planned_and_not_retired_until_then() -> None:
    plan = replace(fake_plan((1, 1, 1, 1)), segment=2, firsts=(0, 2, 3), retires=((), (0,), (1, 2)))
    assert [plan.units_of_version(version) for version in range(3)] == [[0, 1], [1, 2], [3]]
