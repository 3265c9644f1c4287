"""Records that crash the reader are found and quarantined; records and sources with ordinary errors are not."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dentgen.conditions.quarantine import find_crashing_records
from dentgen.conditions.readers.raw import ConditionShard, RawRecord
from dentgen.conditions.unit_records import read_unit
from dentgen.documents.units import Unit
from dentgen.errors import BuildError
from dentgen.spec.build import BuildSpec
from tests.conftest import write_tar
from tests.poison import one_unit, package_that_kills, poisoned

Members = dict[str, bytes]


@pytest.fixture
def crashing_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make child processes import a package that crashes; this process keeps its own."""
    monkeypatch.setattr(sys, "path", [str(package_that_kills(tmp_path / "copy")), *sys.path])


def read_keys(
    spec: BuildSpec, unit: Unit, shard: ConditionShard, quarantine: dict[int, RawRecord]
) -> tuple[list[str], list[str]]:
    """Keys of accepted and of rejected records."""
    records, rejected = read_unit(spec, unit, shard, quarantine)
    return [record.key for record in records], [record.source_key for record in rejected]


@pytest.mark.parametrize(
    "where",
    [(1,), *(pytest.param(each, marks=pytest.mark.slow) for each in ((0,), (2,), (4,), (1, 2), (0, 1, 2, 3, 4)))],
)
def test_crashing_records_are_found_and_their_neighbours_used(
    where: tuple[int, ...], tmp_path: Path, demo_members: dict[str, Members], crashing_children: None
) -> None:
    keys = sorted(demo_members)[:5]
    records = {k: poisoned(demo_members[k]) if n in where else demo_members[k] for n, k in enumerate(keys)}
    write_tar(tmp_path / "s" / "a.tar", records)
    spec, unit, shard = one_unit(tmp_path / "s")
    quarantine = find_crashing_records(spec, unit, shard)
    assert sorted(quarantine) == list(where)
    for position, raw in quarantine.items():
        assert raw.problem is not None
        assert raw.problem.file == f"a.tar: {keys[position]}"
        assert "signal 9" in raw.problem.found
    accepted, rejected = read_keys(spec, unit, shard, quarantine)
    assert rejected == [keys[n] for n in where]
    assert accepted == [key for n, key in enumerate(keys) if n not in where]


@pytest.mark.slow
def test_crashing_pages_cost_only_their_row_group(
    tmp_path: Path, demo_members: dict[str, Members], crashing_children: None
) -> None:
    """The second of three row groups crashes before any of its records is reported."""
    keys = sorted(demo_members)[:6]
    names = sorted(demo_members[keys[0]])
    rows = [{"__key__": key, **{name: demo_members[key][name] for name in names}} for key in keys]
    (tmp_path / "s").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "s" / "a.parquet", row_group_size=2)
    spec, unit, shard = one_unit(tmp_path / "s")
    quarantine = find_crashing_records(spec, unit, shard)
    assert [raw.place for raw in quarantine.values()] == ["a.parquet: record 2", "a.parquet: record 3"]
    accepted, rejected = read_keys(spec, unit, shard, quarantine)
    assert accepted == [*keys[:2], *keys[4:]]
    assert rejected == ["a.parquet#2", "a.parquet#3"]


def test_records_that_raise_errors_are_not_quarantined(tmp_path: Path, demo_members: dict[str, Members]) -> None:
    keys = sorted(demo_members)[:3]
    write_tar(tmp_path / "s" / "a.tar", {k: {**demo_members[k], "seg.png": b"no image"} for k in keys})
    assert find_crashing_records(*one_unit(tmp_path / "s")) == {}


def test_changed_source_is_not_blamed_on_a_record(tmp_path: Path, demo_members: dict[str, Members]) -> None:
    keys = sorted(demo_members)[:3]
    write_tar(tmp_path / "s" / "a.tar", {k: demo_members[k] for k in keys})
    spec, unit, shard = one_unit(tmp_path / "s")
    with pytest.raises(BuildError) as caught:
        find_crashing_records(spec, replace(unit, shard_bytes=5), shard)
    assert caught.value.file.endswith("a.tar")
    assert caught.value.key == "unit 000000"
    assert f"found {shard.size} bytes, expected 5 bytes" in caught.value.message, "what the child reported"


@pytest.mark.slow
def test_record_that_crashes_before_its_split_is_known_fails_the_unit(
    tmp_path: Path, demo_members: dict[str, Members], crashing_children: None
) -> None:
    """Rejecting it could count a record of another split as planned; skipping it could lose a planned one."""
    keys = sorted(demo_members)[:4]
    splits = ("train", "test", "train", "test")
    rows = [
        {"__key__": key, "json": f'{{"split": "{split}"}}'.encode()} for key, split in zip(keys, splits, strict=True)
    ]
    (tmp_path / "s").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "s" / "a.parquet", row_group_size=2)
    spec, unit, shard = one_unit(tmp_path / "s", split="train")
    assert unit.records == 2
    with pytest.raises(BuildError) as caught:
        find_crashing_records(spec, unit, shard)
    assert (caught.value.file, caught.value.key) == ("a.parquet: record 2", "unit 000000")
    assert "signal 11" in caught.value.found
