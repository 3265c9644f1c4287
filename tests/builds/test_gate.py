"""Builds with a gate: equal bytes with and without Ray and after a stop; figures in table, report and verification."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dentgen.errors import BuildError
from dentgen.generation.unit import generate_unit
from dentgen.pipeline import run
from dentgen.pipeline.run import build
from dentgen.records import FIGURES
from dentgen.report.html.gate import read_gate
from dentgen.shards.index import read_index
from dentgen.shards.layout import SAMPLES
from dentgen.shards.ledger import read_ledgers
from dentgen.shards.plan_file import read_plan
from dentgen.shards.reader import read_samples
from dentgen.spec.build import BuildSpec
from tests.conftest import problems, shard_bytes, small_spec, write_tar

Members = dict[str, dict[str, bytes]]
OFF: dict[str, Any] = dict.fromkeys(FIGURES)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, demo_members: Members) -> Path:
    folder = tmp_path_factory.mktemp("conditions")
    write_tar(folder / "a.tar", dict(sorted(demo_members.items())[:4]))
    return folder


def spec_of(source: Path, out: Path, gate: dict[str, Any]) -> BuildSpec:
    return small_spec(
        source, out, quality={"gate": gate, "max_rejected": 1.0}, sampling={"steps": 2, "variants": 3, "seed": 1},
        engine={"slots": 6}, pipeline={"samples_per_shard": 3},
    )  # fmt: skip


@pytest.fixture(scope="module")
def median(source: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """A luminance that half of the pictures reach."""
    out = tmp_path_factory.mktemp("measured")
    build(spec_of(source, out, {"limits": OFF}), use_ray=False)
    return float(np.median(pq.read_table(out / SAMPLES)["gate_luminance"].to_numpy()))


@pytest.fixture(scope="module")
def whole(source: Path, median: float, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    build(spec_of(source, out, gate_of(median)), use_ray=False)
    return out


def gate_of(median: float, **settings: Any) -> dict[str, Any]:
    return {"limits": {**OFF, "luminance": {"least": round(median, 4)}}, "retry": 1, **settings}


def test_planned_is_written_and_rejected_and_the_table_has_every_figure(whole: Path) -> None:
    assert problems(whole) == []
    index, rows = read_index(str(whole)), pq.read_table(whole / SAMPLES).to_pylist()
    assert (index.planned, index.written + index.rejected) == (12, 12)
    assert 0 < index.rejected < 12
    for row in rows:
        failed = row["status"] == "rejected"
        assert row["gate_failed"] == (["luminance"] if failed else [])
        assert all(row[f"gate_{name}"] is not None for name in FIGURES if name != "distinct")
        assert len(row["fingerprint"]) == 64
        assert row["retries"] == 1 or not failed
    assert {row["retries"] for row in rows} == {0, 1}


def test_metadata_ledger_and_table_say_the_same(whole: Path) -> None:
    rows = {row["key"]: row for row in pq.read_table(whole / SAMPLES).to_pylist()}
    units = [unit.name for unit in read_plan(str(whole)).units]
    statuses = {status.key: status for record in read_ledgers(str(whole), units) for status in record.samples}
    for key, members in read_samples(str(whole)):
        gate = json.loads(members["json"])["gate"]
        known = statuses[key].gate
        assert known is not None
        assert gate["figures"] == known.figures == {n: rows[key][f"gate_{n}"] for n in known.figures}
        assert gate["fingerprint"] == rows[key]["fingerprint"]


@pytest.mark.ray
def test_ray_gives_the_same_bytes(source: Path, median: float, whole: Path, tmp_path: Path, ray_local: None) -> None:
    build(spec_of(source, tmp_path, gate_of(median)), address="local")
    assert shard_bytes(tmp_path) == shard_bytes(whole)
    assert read_index(str(tmp_path)).ledger_sha256 == read_index(str(whole)).ledger_sha256


def test_a_build_that_stopped_goes_on_with_the_planned_limits(
    source: Path, median: float, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def stopping(*arguments: Any) -> Any:
        if len(made) == 2:
            raise BuildError("stopped")
        made.append(arguments)
        return generate(*arguments)

    generate = generate_unit
    monkeypatch.setattr(run, "generate_unit", stopping)
    with pytest.raises(BuildError):
        build(spec_of(source, tmp_path, gate_of(median)), use_ray=False)
    monkeypatch.setattr(run, "generate_unit", generate)
    build(spec_of(source, tmp_path, gate_of(median)), use_ray=False)
    assert shard_bytes(tmp_path) == shard_bytes(whole)


def test_a_forged_figure_is_a_problem(whole: Path, source: Path, median: float, tmp_path: Path) -> None:
    build(spec_of(source, tmp_path, gate_of(median)), use_ray=False)
    ledger = sorted((tmp_path / "ledger").iterdir())[0]
    record = json.loads(ledger.read_text())
    written = next(sample for sample in record["samples"] if sample["status"] == "written")
    written["gate"]["figures"]["luminance"] = 0.9999
    ledger.write_text(json.dumps(record))
    assert any("gate" in problem for problem in problems(tmp_path))


def test_a_report_without_a_gate_has_no_section(source: Path, tmp_path: Path) -> None:
    build(small_spec(source, tmp_path), use_ray=False)
    assert 'id="gate"' not in (tmp_path / "report.html").read_text()
    assert read_gate(str(tmp_path), read_plan(str(tmp_path)), read_index(str(tmp_path))) is None
    assert pq.read_table(tmp_path / SAMPLES)["gate_miou"].null_count == 8
