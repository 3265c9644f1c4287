"""The report's section on the quality gate."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dentgen.pipeline.run import build
from dentgen.report.html.gate import read_gate
from dentgen.shards.index_reader import read_index
from dentgen.shards.layout import SAMPLES
from dentgen.shards.plan_file import read_plan
from tests.builds.gated_build import Members, gate_of, gated_source, gated_spec, median_luminance
from tests.conftest import small_spec


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


@pytest.mark.integration
def test_the_report_shows_limits_and_the_pictures_nearest_to_them(whole: Path, median: float) -> None:
    plan, index = read_plan(str(whole)), read_index(str(whole))
    summary = read_gate(str(whole), plan, index)
    assert summary is not None
    assert (summary.measured, summary.failed) == (12, index.rejected)
    luminance = next(row for row in summary.figures if row.name == "luminance")
    assert luminance.failed == index.rejected
    assert luminance.limit is not None
    assert luminance.limit.least == median
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


@pytest.mark.integration
def test_a_report_without_a_gate_has_no_section(source: Path, tmp_path: Path) -> None:
    build(small_spec(source, tmp_path), use_ray=False)
    assert 'id="gate"' not in (tmp_path / "report.html").read_text()
    assert read_gate(str(tmp_path), read_plan(str(tmp_path)), read_index(str(tmp_path))) is None
    assert pq.read_table(tmp_path / SAMPLES)["gate_miou"].null_count == 8
