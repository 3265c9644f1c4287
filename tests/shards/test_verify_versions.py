"""What versions keep beside their index is held against the ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dentgen.shards.ledger_table import read_ledger_table, write_ledger_table
from dentgen.shards.plan import Plan
from dentgen.shards.verify_versions import version_problems
from tests.report.fake_builds import fake_build, written


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A sealed build of two units."""
    return fake_build(tmp_path, [written(0), written(1)])


def places(out: Path, plan: Plan) -> list[str]:
    problems = list(version_problems(str(out), plan))
    assert all(problem.derived == problem.place for problem in problems)
    return [problem.place for problem in problems]


def a_record_less(out: Path) -> None:
    table = out / "versions/0/ledger.parquet"
    write_ledger_table(table, list(read_ledger_table(str(table)))[:1])


DAMAGE: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "no seal": (lambda out: (out / "versions/0/seal.json").unlink(), ["versions/0/seal.json"]),
    "no table": (lambda out: (out / "versions/0/ledger.parquet").unlink(), ["versions/0/ledger.parquet"] * 2),
    "a record less": (a_record_less, ["versions/0/ledger.parquet"] * 2),
}


def test_a_sound_version_has_no_problem(tmp_path: Path, plan: Plan) -> None:
    assert places(tmp_path, plan) == []


def test_a_record_that_is_not_the_sealed_one_is_named(tmp_path: Path, plan: Plan) -> None:
    record = tmp_path / "ledger" / "000001.json"
    record.write_text(record.read_text().replace("jaw-001-v001", "jaw-001-v007"))
    (problem,) = version_problems(str(tmp_path), plan)
    assert (problem.place, problem.unit) == ("ledger/000001.json", 1)
    assert list(version_problems(str(tmp_path), plan, blamed=True)) == []


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named_by_its_file(case: str, tmp_path: Path, plan: Plan) -> None:
    damage, expected = DAMAGE[case]
    damage(tmp_path)
    assert places(tmp_path, plan) == expected
