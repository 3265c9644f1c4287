"""What became of a source: new, changed and missing condition shards, and copies, which are none of these."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dentgen.errors import SpecChangedError
from dentgen.pipeline.plan import adopt_plan, draft_plan
from dentgen.pipeline.source_changes import SourceChanges, require_acceptable, source_changes
from dentgen.shards.plan import Plan
from dentgen.spec.build import BuildSpec
from tests.conftest import small_spec

NONE = np.zeros(0, np.int64)


@pytest.fixture
def spec(small_source: Path, tmp_path: Path) -> BuildSpec:
    return small_spec(small_source, tmp_path / "out")


@pytest.fixture
def plan(spec: BuildSpec) -> Plan:
    return adopt_plan(spec.output.path, draft_plan(spec))


def found(spec: BuildSpec, plan: Plan) -> tuple[list[str], list[str]]:
    changes = source_changes(spec.output.path, spec, plan)
    return [shard.name for shard in changes.new], [str(change) for change in changes.changed]


def test_what_is_new_changed_and_gone_is_told(spec: BuildSpec, plan: Plan, small_source: Path) -> None:
    assert found(spec, plan) == ([], [])
    content = (small_source / "a.tar").read_bytes()
    (small_source / "c.tar").write_bytes(content)
    os.utime(small_source / "b.tar", (1, 1))
    assert found(spec, plan) == (["c.tar"], []), "a copy is the same shard"
    (small_source / "a.tar").write_bytes(content[:600] + bytes([content[600] ^ 1]) + content[601:])
    os.utime(small_source / "a.tar", (1, 1))
    (small_source / "b.tar").unlink()
    new, (first, second) = found(spec, plan)
    assert new == ["c.tar"]
    assert all(fact in first for fact in ("a.tar was replaced", plan.units[0].shard_content))
    assert "b.tar is gone" in second


def test_a_shard_that_could_not_be_read_is_tried_again(spec: BuildSpec, small_source: Path) -> None:
    whole = (small_source / "b.tar").read_bytes()
    (small_source / "b.tar").write_bytes(whole[:3000])
    plan = adopt_plan(spec.output.path, draft_plan(spec))
    assert found(spec, plan) == ([], [])
    (small_source / "b.tar").write_bytes(whole)
    ((change,)) = found(spec, plan)[1]
    assert "b.tar" in change


def test_changes_are_accepted_as_chosen_and_never_where_units_wait(
    spec: BuildSpec, plan: Plan, small_source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (small_source / "b.tar").unlink()
    changes, out = source_changes(spec.output.path, spec, plan), spec.output.path
    for choice in ("skip", "rebuild-as-new"):
        caplog.clear()
        require_acceptable(out, plan, changes, NONE, choice)
        assert ["b.tar" in record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [True]
        with pytest.raises(SpecChangedError) as caught:
            require_acceptable(out, plan, changes, np.array([2]), choice)
        assert "pending" in caught.value.advice
        require_acceptable(out, plan, changes, np.array([0]), choice)
    with pytest.raises(SpecChangedError) as caught:
        require_acceptable(out, plan, changes, NONE, "refuse")
    assert (caught.value.key, caught.value.file) == ("b.tar", f"{out}/plan/000000.json")
    require_acceptable(out, plan, SourceChanges(), np.array([2]), "refuse")
