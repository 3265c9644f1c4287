"""The table of samples against the ledger: whoever is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dentgen import storage
from dentgen.shards.index import publish_index
from dentgen.shards.index_reader import read_index
from dentgen.shards.ledger import read_ledger
from dentgen.shards.plan import Plan
from dentgen.shards.problem import Problem
from dentgen.shards.sample_rows import ADDED_LATER
from dentgen.shards.verify_table import TableCheck
from tests.report.fake_builds import fake_build, rejected, written


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A sealed build of three units."""
    return fake_build(tmp_path, [written(0), [*written(1), *rejected(2, "torn")], written(3)])


def checked(out: Path, plan: Plan, *, forged: int | None = None, lost: int | None = None) -> list[Problem]:
    """Problems of a pass over all units; a unit's record may be forged or lost."""
    check = TableCheck(str(out), plan, frozenset({read_index(str(out)).samples_sha256}))
    problems: list[Problem] = []
    for unit in plan.units:
        record = read_ledger(str(out), unit.name)
        if unit.id == forged:
            samples = (record.samples[0].model_copy(update={"split": "forged"}), *record.samples[1:])
            record = record.model_copy(update={"samples": samples})
        problems += check.unit_problems(unit, None if unit.id == lost else record)
    return problems + list(check.problems())


def test_a_table_that_agrees_has_no_problem(plan: Plan, tmp_path: Path) -> None:
    assert checked(tmp_path, plan) == []


def test_a_table_of_an_earlier_dentgen_has_no_problem_but_a_changed_row_in_it_has(plan: Plan, tmp_path: Path) -> None:
    rows = pq.read_table(tmp_path / "samples.parquet")
    pq.write_table(rows.drop_columns(sorted(ADDED_LATER)), tmp_path / "samples.parquet")
    index = read_index(str(tmp_path))
    sealed = index.model_copy(update={"samples_sha256": storage.sha256_of(str(tmp_path / "samples.parquet"))})
    publish_index(str(tmp_path), sealed)
    assert checked(tmp_path, plan) == []
    (problem,) = checked(tmp_path, plan, forged=1)
    assert "'forged'" in problem.text


def test_a_column_that_was_always_there_must_be_there(plan: Plan, tmp_path: Path) -> None:
    rows = pq.read_table(tmp_path / "samples.parquet")
    pq.write_table(rows.drop_columns(["split"]), tmp_path / "samples.parquet")
    (problem,) = checked(tmp_path, plan)
    assert (problem.place, "['split']" in problem.text) == ("samples.parquet", True)


def test_a_lost_record_does_not_shift_the_rows_of_others(plan: Plan, tmp_path: Path) -> None:
    assert checked(tmp_path, plan, lost=1) == []


def test_the_ledger_is_wrong_if_the_table_is_the_sealed_one(plan: Plan, tmp_path: Path) -> None:
    (problem,) = checked(tmp_path, plan, forged=1)
    assert (problem.place, problem.unit, problem.derived) == ("ledger/000001.json", 1, "")
    assert "'forged'" in problem.text


def test_the_table_is_wrong_if_it_is_another(plan: Plan, tmp_path: Path) -> None:
    rows = pq.read_table(tmp_path / "samples.parquet")
    pq.write_table(pa.Table.from_pylist(rows.to_pylist()[::-1], rows.schema), tmp_path / "samples.parquet")
    (problem,) = checked(tmp_path, plan)
    assert (problem.place, problem.unit, problem.derived) == ("samples.parquet", None, "samples.parquet")
