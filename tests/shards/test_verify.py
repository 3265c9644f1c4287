"""Verification finds what was damaged, by name, and only that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dentgen.conditions.labels import LABEL_VALUES
from dentgen.shards import ledger as ledger_module
from dentgen.shards.index import seal
from dentgen.shards.ledger import digest_of, read_ledger, read_ledgers
from dentgen.shards.plan import Plan
from dentgen.shards.problem import Problem
from dentgen.shards.tar import json_bytes
from dentgen.shards.verify import verify_build
from tests.report.fake_builds import rejected, written
from tests.shards.sealed_builds import finished_build, peak_bytes, rejected_ledger

UNITS = [written(0), [*written(1), *rejected(1, "torn")], rejected(2, "torn"), written(3)]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A finished build of four units."""
    return finished_build(tmp_path, UNITS)


def found(out: Path, plan: Plan) -> list[Problem]:
    return list(verify_build(str(out), plan, LABEL_VALUES))


def places(out: Path, plan: Plan) -> list[tuple[str, int | None, str]]:
    return [(problem.place, problem.unit, problem.derived) for problem in found(out, plan)]


def rewrite_record(out: Path, name: str, **changes: object) -> None:
    record = read_ledger(str(out), name).model_copy(update=changes)
    (out / "ledger" / f"{name}.json").write_bytes(json_bytes(record.model_dump(mode="json")))


def test_a_sound_build_has_no_problems(tmp_path: Path, plan: Plan) -> None:
    progress: list[tuple[int, int]] = []
    assert list(verify_build(str(tmp_path), plan, LABEL_VALUES, lambda *seen: progress.append(seen))) == []
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_one_flipped_bit_is_found(tmp_path: Path, plan: Plan) -> None:
    shard = tmp_path / "shards" / "000001.tar"
    data = bytearray(shard.read_bytes())
    data[700] ^= 1
    shard.write_bytes(bytes(data))
    (problem,) = found(tmp_path, plan)
    assert (problem.place, problem.unit) == ("shards/000001.tar", 1)
    assert digest_of(bytes(data)) in problem.text
    assert read_ledger(str(tmp_path), "000001").sha256 in problem.text


def test_missing_files_are_found_in_the_order_of_the_plan(tmp_path: Path, plan: Plan) -> None:
    (tmp_path / "shards" / "000003.tar").unlink()
    (tmp_path / "ledger" / "000000.json").unlink()
    (tmp_path / "ledger" / "000002.json").write_text("{")
    assert places(tmp_path, plan) == [
        ("ledger/000000.json", 0, ""),
        ("ledger/000002.json", 2, ""),
        ("shards/000003.tar", 3, ""),
    ]


RECORDS: dict[str, dict[str, object]] = {
    "another unit": {"unit": 1},
    "another spec": {"spec_digest": "0" * 64},
    "another bundle": {"bundle_digest": "0" * 64},
    "another shard": {"shard": "000001.tar"},
}


@pytest.mark.parametrize("case", RECORDS)
def test_a_record_that_does_not_fit_the_plan_is_found(case: str, tmp_path: Path, plan: Plan) -> None:
    rewrite_record(tmp_path, "000000", **RECORDS[case])
    problems = [problem for problem in found(tmp_path, plan) if problem.place == "ledger/000000.json"]
    (field,) = RECORDS[case]
    assert any(field in problem.text for problem in problems)


def test_a_record_of_other_samples_than_planned_is_found(tmp_path: Path, plan: Plan) -> None:
    rewrite_record(tmp_path, "000002", samples=read_ledger(str(tmp_path), "000002").samples[1:])
    assert "ledger/000002.json" in [problem.place for problem in found(tmp_path, plan)]


def test_a_sample_that_two_units_have_is_found(tmp_path: Path) -> None:
    plan = finished_build(tmp_path, [written(0), written(1), written(2)])
    record = read_ledger(str(tmp_path), "000000")
    rewrite_record(tmp_path, "000002", **{name: getattr(record, name) for name in ("bytes", "sha256", "samples")})
    (tmp_path / "shards" / "000002.tar").write_bytes((tmp_path / "shards" / "000000.tar").read_bytes())
    problems = [problem for problem in found(tmp_path, plan) if problem.place == "ledger"]
    for problem, key in zip(problems, ("jaw-000-v000", "jaw-000-v001"), strict=True):
        assert key in problem.text


def test_a_shard_that_a_record_does_not_describe_is_found(tmp_path: Path, plan: Plan) -> None:
    """Its hash fits, its samples do not."""
    record = read_ledger(str(tmp_path), "000003")
    rewrite_record(tmp_path, "000000", bytes=record.bytes, sha256=record.sha256)
    (tmp_path / "shards" / "000000.tar").write_bytes((tmp_path / "shards" / "000003.tar").read_bytes())
    keys = {place.removeprefix("shards/000000.tar: ") for place, *_ in places(tmp_path, plan) if "tar: " in place}
    assert keys == {"jaw-000-v000", "jaw-000-v001", "jaw-003-v000", "jaw-003-v001"}


@pytest.mark.parametrize("name", ["index.json", "versions/0/index.json", "samples.parquet"])
def test_damage_to_derived_files_is_found(name: str, tmp_path: Path, plan: Plan) -> None:
    whole = (tmp_path / name).read_bytes()
    for damaged in (whole[:-20], b""):
        (tmp_path / name).write_bytes(damaged)
        assert places(tmp_path, plan) == [(name, None, name)]
    (tmp_path / name).unlink()
    assert places(tmp_path, plan) == [(name, None, name)]


def test_an_index_names_the_shards_on_which_it_disagrees(tmp_path: Path, plan: Plan) -> None:
    content = (tmp_path / "index.json").read_text()
    (tmp_path / "index.json").write_text(content.replace(read_ledger(str(tmp_path), "000003").sha256, "0" * 64))
    (problem,) = found(tmp_path, plan)
    assert (problem.place, problem.derived) == ("index.json", "index.json")
    assert "000003.tar" in problem.text


TABLES: dict[str, Callable[[list[dict[str, object]]], object]] = {
    "a row less": lambda rows: rows.pop(),
    "a row less at the front": lambda rows: rows.pop(0),
    "a row more": lambda rows: rows.append(rows[-1]),
    "two rows exchanged": lambda rows: rows.insert(0, rows.pop(1)),
    "another key": lambda rows: rows[2].update(key="x"),
    "another status": lambda rows: rows[2].update(status="rejected"),
    "another reason": lambda rows: rows[-3].update(reason="x"),
    "another shard": lambda rows: rows[0].update(shard="000003.tar"),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_table_that_differs_from_the_ledger_is_found(case: str, tmp_path: Path, plan: Plan) -> None:
    table = pq.read_table(tmp_path / "samples.parquet")
    rows = table.to_pylist()
    TABLES[case](rows)
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), tmp_path / "samples.parquet")
    assert places(tmp_path, plan) == [("samples.parquet", None, "samples.parquet")]


def test_a_table_without_a_column_is_found(tmp_path: Path, plan: Plan) -> None:
    table = pq.read_table(tmp_path / "samples.parquet")
    pq.write_table(table.drop_columns(["reason"]), tmp_path / "samples.parquet")
    (problem,) = found(tmp_path, plan)
    assert problem.place == "samples.parquet"
    assert "reason" in problem.text


def test_an_unsealed_build_is_found(tmp_path: Path, plan: Plan) -> None:
    (tmp_path / "_SUCCESS").unlink()
    assert places(tmp_path, plan) == [("_SUCCESS", None, "_SUCCESS")]


def test_a_plan_with_a_unit_more_is_found(tmp_path: Path, plan: Plan) -> None:
    more = [*plan.units, replace(plan.units[3], id=4)]
    longer = replace(plan, units=type(plan.units).of(more))
    assert places(tmp_path, longer) == [("ledger/000004.json", 4, "")]


@pytest.mark.slow
def test_memory_of_verifying_is_far_below_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is compared in batches of 65,536 rows, which bound its memory; this ledger fits into one of them."""
    monkeypatch.setattr(ledger_module, "_READ_AHEAD", 8)
    plan = rejected_ledger(tmp_path, 90, 32)
    seal(str(tmp_path), plan)
    (tmp_path / "_SUCCESS").touch()
    peak = peak_bytes(lambda: list(verify_build(str(tmp_path), plan, {})))
    everything = peak_bytes(lambda: list(read_ledgers(str(tmp_path), (unit.name for unit in plan.units))))
    assert peak < everything / 2, (peak, everything)
