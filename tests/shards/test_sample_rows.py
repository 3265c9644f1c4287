"""A row for every planned sample, written in bounded memory."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dentgen.shards import sample_rows
from dentgen.shards.plan import Plan
from dentgen.shards.sample_rows import SAMPLE_SCHEMA
from tests.report.fake_builds import fake_build, rejected, written

UNITS = [written(0), rejected(1, "a.tar: broken"), [*written(2), *rejected(3, "a.tar: torn")]]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A sealed build: two shards, and a unit without one."""
    return fake_build(tmp_path, UNITS)


def test_the_table_has_a_row_for_every_planned_sample(tmp_path: Path, plan: Plan) -> None:
    table = pq.read_table(tmp_path / "samples.parquet")
    assert table.schema.equals(SAMPLE_SCHEMA)
    rows = table.to_pylist()
    assert [row["key"] for row in rows] == [sample.key for unit in UNITS for sample in unit]
    assert [row["shard"] for row in rows] == ["000000.tar"] * 2 + [""] * 2 + ["000002.tar"] * 2 + [""] * 2
    assert [row["reason"] for row in rows if row["status"] == "rejected"] == ["a.tar: broken"] * 2 + ["a.tar: torn"] * 2
    assert rows[0]["view"] == "frontal"
    assert rows[0]["teeth"] == [11, 21, 36]
    for row in rows:
        assert (row["seed"], row["spec_digest"], row["synthetic"]) == (0, plan.spec_digest, True)
        assert json.loads(row["software"]) == plan.environment
        assert json.loads(row["adapters"]) == {"blended": 1.0}


def test_row_groups_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_rows, "_ROW_GROUP", 3)
    fake_build(tmp_path, UNITS)
    metadata = pq.ParquetFile(tmp_path / "samples.parquet").metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [3, 3, 2]
