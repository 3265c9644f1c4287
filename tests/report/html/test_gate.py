"""The report's section on the quality gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dentgen.pipeline.run import build
from dentgen.records import FIGURES
from dentgen.report.html.gate import read_gate
from dentgen.shards.index import read_index
from dentgen.shards.layout import SAMPLES
from dentgen.shards.plan_file import read_plan
from dentgen.spec.build import BuildSpec
from tests.conftest import small_spec, write_tar

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


def test_the_report_shows_limits_and_the_pictures_nearest_to_them(whole: Path, median: float) -> None:
    plan, index = read_plan(str(whole)), read_index(str(whole))
    summary = read_gate(str(whole), plan, index)
    assert summary is not None
    assert (summary.measured, summary.failed) == (12, index.rejected)
    luminance = next(row for row in summary.figures if row.name == "luminance")
    assert luminance.failed == index.rejected
    assert luminance.limit is not None
    assert luminance.limit.least == round(median, 4)
    assert sum(count.samples for count in luminance.histogram.counts) == 12
    rows = {row["key"]: row for row in pq.read_table(whole / SAMPLES).to_pylist()}
    accepted = [rows[near.key]["gate_luminance"] for near in summary.worst_accepted]
    rejected = [rows[near.key]["gate_luminance"] for near in summary.best_rejected]
    assert accepted == sorted(accepted)
    assert rejected == sorted(rejected, reverse=True)
    assert (len(accepted), len(rejected)) == (index.written, index.rejected)
    assert all(near.picture is not None for near in summary.worst_accepted)
    assert all(near.picture is None for near in summary.best_rejected), "they are in no shard"
    page = (whole / "report.html").read_text()
    assert '<h2 id="gate">Quality gate</h2>' in page
    assert f"<small>{luminance.name} " in page


def test_a_report_without_a_gate_has_no_section(source: Path, tmp_path: Path) -> None:
    build(small_spec(source, tmp_path), use_ray=False)
    assert 'id="gate"' not in (tmp_path / "report.html").read_text()
    assert read_gate(str(tmp_path), read_plan(str(tmp_path)), read_index(str(tmp_path))) is None
    assert pq.read_table(tmp_path / SAMPLES)["gate_miou"].null_count == 8
