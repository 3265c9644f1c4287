"""Builds with a gate: equal bytes with and without Ray and after a stop; figures in table, report and verification."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dentgen.errors import BuildError
from dentgen.generation.unit import generate_unit
from dentgen.models.judges import judges_folder
from dentgen.pipeline import make_units as module
from dentgen.pipeline.repair import repair
from dentgen.pipeline.run import build
from dentgen.records import FIGURES
from dentgen.report.html.gate import read_gate
from dentgen.shards.index_reader import read_index
from dentgen.shards.layout import SAMPLES
from dentgen.shards.ledger import read_ledgers
from dentgen.shards.plan_file import read_plan
from dentgen.shards.reader import read_samples
from tests.builds.gated_build import Members, gate_of, gated_source, gated_spec, median_luminance
from tests.conftest import problems, shard_bytes, small_spec

#: All of them need pictures or trainings that take seconds.
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, demo_members: Members) -> Path:
    return gated_source(tmp_path_factory.mktemp("conditions"), demo_members)


@pytest.fixture(scope="module")
def median(source: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    return median_luminance(source, tmp_path_factory.mktemp("measured"))


@pytest.fixture(scope="module")
def whole(source: Path, median: float, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    build(gated_spec(source, out, gate_of(median)), use_ray=False)
    return out


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
    build(gated_spec(source, tmp_path, gate_of(median)), address="local")
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
    monkeypatch.setattr(module, "generate_unit", stopping)
    with pytest.raises(BuildError):
        build(gated_spec(source, tmp_path, gate_of(median)), use_ray=False)
    monkeypatch.setattr(module, "generate_unit", generate)
    build(gated_spec(source, tmp_path, gate_of(median)), use_ray=False)
    assert shard_bytes(tmp_path) == shard_bytes(whole)


def test_a_forged_figure_is_a_problem(whole: Path, source: Path, median: float, tmp_path: Path) -> None:
    build(gated_spec(source, tmp_path, gate_of(median)), use_ray=False)
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


@pytest.mark.slow
@pytest.mark.ray
def test_own_judges_are_found_by_actors_and_by_repair(
    source: Path, median: float, whole: Path, tmp_path: Path, ray_local: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named by a relative path, from which neither Ray's workers nor a build that moved can start."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(judges_folder("embedded"), tmp_path / "judges")
    build(gated_spec(source, tmp_path / "out", gate_of(median, judges="judges")), address="local")
    assert shard_bytes(tmp_path / "out") == shard_bytes(whole)
    (tmp_path / "out" / "shards" / "000001.tar").unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    repaired = repair(str(tmp_path / "out"), use_ray=False)
    assert (repaired.units, repaired.left) == ((1,), ())
    assert shard_bytes(tmp_path / "out") == shard_bytes(whole)
