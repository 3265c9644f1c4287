"""Planning: what is resolved, what is written, and what may differ when a build is resumed."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from dentgen.conditions.readers.source import index_shard, list_shards
from dentgen.errors import BuildError, SpecChangedError, StorageError
from dentgen.pipeline import source_index
from dentgen.pipeline.environment import environment
from dentgen.pipeline.plan import adopt_plan, make_plan
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import read_plan
from tests.conftest import small_spec


def test_records_times_variants_are_cut_into_units(small_source: Path, tmp_path: Path) -> None:
    spec = small_spec(small_source, tmp_path / "out")
    plan = make_plan(spec)
    assert [(unit.shard, unit.start, unit.stop) for unit in plan.units] == [
        ("a.tar", 0, 2), ("a.tar", 2, 3), ("b.tar", 0, 2),
    ]  # fmt: skip
    assert plan.planned == 10
    assert plan.spec_digest == spec.digest()
    assert plan.spec.engine.control_slots == spec.control_slots
    assert plan.environment == environment(spec)


def test_a_dry_run_writes_nothing(small_source: Path, tmp_path: Path) -> None:
    spec = small_spec(small_source, tmp_path / "out")
    before = sorted(small_source.iterdir())
    plan = make_plan(spec, keep_index=False)
    assert not (tmp_path / "out").exists()
    assert sorted(small_source.iterdir()) == before
    assert make_plan(spec) == plan
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["source.parquet"]


def test_a_limit_stops_indexing_early(small_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_index, "_CHUNK", 1)
    shards = list_shards(str(small_source))
    indexes = [index_shard(shard, with_metadata=False) for shard in shards]
    source_index.write_source_index(str(tmp_path / "out" / "plan" / "source.parquet"), shards, indexes)
    for limit, indexed in ((3, [(1, 2)]), (4, [(1, 2), (2, 2)])):
        seen: list[tuple[int, int]] = []
        spec = small_spec(small_source, tmp_path / "out", source={"limit": limit})
        plan = make_plan(spec, lambda *counts, seen=seen: seen.append(counts))
        assert plan.planned == 2 * limit
        assert seen == indexed


def test_a_split_without_records_is_an_error_that_names_it(small_source: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        make_plan(small_spec(small_source, tmp_path / "out", source={"split": "holdout"}))
    assert caught.value.file == str(small_source)
    assert "holdout" in caught.value.found


def test_a_missing_source_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        make_plan(small_spec(tmp_path / "nothing-there", tmp_path / "out"))
    assert caught.value.file == str(tmp_path / "nothing-there")


@pytest.fixture
def planned(small_source: Path, tmp_path: Path) -> Plan:
    """A published plan, in ``out``."""
    return adopt_plan(str(tmp_path / "out"), make_plan(small_spec(small_source, tmp_path / "out"), keep_index=False))


def test_the_same_plan_is_adopted(planned: Plan, small_source: Path, tmp_path: Path) -> None:
    assert read_plan(str(tmp_path / "out")) == planned
    again = make_plan(small_spec(small_source, tmp_path / "out"), keep_index=False)
    assert adopt_plan(str(tmp_path / "out"), again) == planned


def test_settings_that_decide_no_bytes_may_change(planned: Plan, small_source: Path, tmp_path: Path) -> None:
    spec = small_spec(
        small_source, tmp_path / "out", quality={"max_rejected": 0.5}, engine={"slots": 4, "fill": "unit"},
        pipeline={"actors": 7, "lease_seconds": 7, "stall_seconds": 9, "environment": "warn", "samples_per_shard": 4},
    )  # fmt: skip
    assert spec.digest() == planned.spec_digest
    assert adopt_plan(str(tmp_path / "out"), make_plan(spec, keep_index=False)) == planned


def test_a_changed_spec_is_refused_with_every_difference(planned: Plan, small_source: Path, tmp_path: Path) -> None:
    changed = small_spec(small_source, tmp_path / "out", sampling={"seed": 6}, conditions={"alpha": 0.4})
    with pytest.raises(SpecChangedError) as caught:
        adopt_plan(str(tmp_path / "out"), make_plan(changed, keep_index=False))
    assert caught.value.file == str(tmp_path / "out" / "plan" / "000000.json")
    assert "sampling.seed: 5 -> 6" in caught.value.message
    assert "conditions.alpha: 0.3 -> 0.4" in caught.value.message
    assert read_plan(str(tmp_path / "out")) == planned


def test_a_changed_bundle_or_source_is_refused(planned: Plan, tmp_path: Path) -> None:
    units = type(planned.units)
    others = {
        "f" * 64: replace(planned, bundle_digest="f" * 64),
        "3 units -> 2 units": replace(planned, units=units.of(planned.units[:2])),
        "3 units -> 3 units": replace(
            planned, units=units.of([*planned.units[:2], replace(planned.units[2], shard_bytes=1)])
        ),
    }
    for fact, other in others.items():
        with pytest.raises(SpecChangedError) as caught:
            adopt_plan(str(tmp_path / "out"), other)
        assert fact in caught.value.message


def elsewhere(plan: Plan, policy: str, **changes: str) -> Plan:
    """The plan as another machine makes it."""
    pipeline = plan.spec.pipeline.model_copy(update={"environment": policy})
    spec = plan.spec.model_copy(update={"pipeline": pipeline})
    return replace(plan, spec=spec, environment={**plan.environment, **changes})


def test_another_environment_is_refused_by_default(planned: Plan, tmp_path: Path) -> None:
    with pytest.raises(SpecChangedError) as caught:
        adopt_plan(str(tmp_path / "out"), elsewhere(planned, "refuse", torch="9.9"))
    assert "environment.torch" in caught.value.message
    assert "9.9" in caught.value.message


def test_another_environment_is_a_warning_by_policy(
    planned: Plan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = adopt_plan(str(tmp_path / "out"), elsewhere(planned, "warn", torch="9.9"))
    assert found.units == planned.units
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "environment.torch" in warning
    assert "9.9" in warning


def test_the_policy_covers_the_environment_alone(planned: Plan, tmp_path: Path) -> None:
    other = replace(elsewhere(planned, "warn", torch="9.9"), bundle_digest="f" * 64)
    with pytest.raises(SpecChangedError) as caught:
        adopt_plan(str(tmp_path / "out"), other)
    assert "f" * 64 in caught.value.message
    assert "environment.torch" in caught.value.message
