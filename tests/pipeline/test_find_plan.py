"""The plan to go by: the stored one, or the copy that was sealed with the build."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dentgen.errors import BuildError
from dentgen.pipeline.find_plan import find_plan, put_back
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import read_plan
from tests.report.fake_builds import fake_build, written

HEAD, COPY = "plan/000000.json", "versions/0/plan.json"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """The plan of a sealed build."""
    fake_build(tmp_path, [written(0), written(1)])
    return read_plan(str(tmp_path))


def reseed(file: Path) -> None:
    head = json.loads(file.read_bytes())
    head["spec"]["sampling"]["seed"] = 77
    file.write_text(json.dumps(head))


def test_a_sound_plan_is_read_from_its_place(plan: Plan, tmp_path: Path) -> None:
    found = find_plan(str(tmp_path))
    assert (found.plan, found.problems, found.copies) == (plan, (), ())


@pytest.mark.parametrize("damage", ["seed", "no JSON", "no units"])
def test_a_damaged_plan_is_read_from_its_copy_and_put_back(damage: str, plan: Plan, tmp_path: Path) -> None:
    before = (tmp_path / HEAD).read_bytes()
    if damage == "seed":
        reseed(tmp_path / HEAD)
    elif damage == "no JSON":
        (tmp_path / HEAD).write_text("{")
    else:
        (tmp_path / "plan" / "000000.units.parquet").unlink()
    found = find_plan(str(tmp_path))
    assert (found.plan, found.copies) == (plan, (0,))
    assert {problem.place for problem in found.problems} == {HEAD}
    put_back(str(tmp_path), found)
    assert (tmp_path / HEAD).read_bytes() == before
    assert find_plan(str(tmp_path)).problems == ()


def test_a_changed_copy_is_no_witness(plan: Plan, tmp_path: Path) -> None:
    reseed(tmp_path / COPY)
    assert find_plan(str(tmp_path)).plan == plan
    (tmp_path / HEAD).write_text("{")
    with pytest.raises(BuildError) as caught:
        find_plan(str(tmp_path))
    assert caught.value.file == str(tmp_path / HEAD)


def test_a_changed_plan_without_a_copy_is_named(plan: Plan, tmp_path: Path) -> None:
    reseed(tmp_path / HEAD)
    (tmp_path / COPY).unlink()
    found = find_plan(str(tmp_path))
    assert found.copies == ()
    assert found.plan.spec.sampling.seed == 77
    assert any("spec_digest" in problem.text and plan.spec_digest in problem.text for problem in found.problems)
