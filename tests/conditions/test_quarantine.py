"""Records that kill who reads them are found, and only they; nothing that merely fails is taken for one."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dentgen.conditions.quarantine import find_crashing_records
from dentgen.conditions.readers.raw import ConditionShard, RawRecord
from dentgen.conditions.unit_records import read_unit
from dentgen.documents import Unit
from dentgen.errors import BuildError
from dentgen.spec.build import BuildSpec
from tests.conftest import write_tar
from tests.poison import one_unit, package_that_kills, poisoned

Members = dict[str, bytes]


@pytest.fixture
def killing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children find the copy first; this process has the package that it has."""
    monkeypatch.setattr(sys, "path", [str(package_that_kills(tmp_path / "copy")), *sys.path])


def split_apart(
    spec: BuildSpec, unit: Unit, shard: ConditionShard, quarantine: dict[int, RawRecord]
) -> tuple[list[str], list[str]]:
    """Keys of what can be used, and keys of what is rejected."""
    records, rejected = read_unit(spec, unit, shard, quarantine)
    return [record.key for record in records], [status.source_key for status in rejected if status.variant == 0]


@pytest.mark.parametrize("where", [(0,), (2,), (4,), (1, 2), (0, 1, 2, 3, 4)])
def test_records_that_kill_are_found_and_their_neighbours_used(
    where: tuple[int, ...], tmp_path: Path, demo_members: dict[str, Members], killing: None
) -> None:
    keys = sorted(demo_members)[:5]
    records = {k: poisoned(demo_members[k]) if n in where else demo_members[k] for n, k in enumerate(keys)}
    write_tar(tmp_path / "s" / "a.tar", records)
    spec, unit, shard = one_unit(tmp_path / "s")
    quarantine = find_crashing_records(spec, unit, shard)
    assert sorted(quarantine) == list(where)
    for position, raw in quarantine.items():
        reason = str(raw.problem)
        assert reason.startswith(f"a.tar: {keys[position]}: found bytes that killed the process")
        assert reason.endswith("(signal 9), expected a record that can be read")
    used, rejected = split_apart(spec, unit, shard, quarantine)
    assert rejected == [keys[n] for n in where]
    assert used == [key for n, key in enumerate(keys) if n not in where]


def test_pages_that_kill_take_their_row_group_alone(
    tmp_path: Path, demo_members: dict[str, Members], killing: None
) -> None:
    """The second of three row groups kills before any of its records has a name."""
    keys = sorted(demo_members)[:6]
    names = sorted(demo_members[keys[0]])
    rows = [{"__key__": key, **{name: demo_members[key][name] for name in names}} for key in keys]
    (tmp_path / "s").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "s" / "a.parquet", row_group_size=2)
    spec, unit, shard = one_unit(tmp_path / "s")
    quarantine = find_crashing_records(spec, unit, shard)
    assert [str(raw.problem).split(":")[1] for raw in quarantine.values()] == [" record 2", " record 3"]
    used, rejected = split_apart(spec, unit, shard, quarantine)
    assert used == [*keys[:2], *keys[4:]]
    assert rejected == ["a.parquet#2", "a.parquet#3"]


def test_what_merely_fails_kills_nobody(tmp_path: Path, demo_members: dict[str, Members]) -> None:
    keys = sorted(demo_members)[:3]
    write_tar(tmp_path / "s" / "a.tar", {k: {**demo_members[k], "seg.png": b"no image"} for k in keys})
    assert find_crashing_records(*one_unit(tmp_path / "s")) == {}


def test_a_source_that_changed_is_no_record_that_kills(tmp_path: Path, demo_members: dict[str, Members]) -> None:
    keys = sorted(demo_members)[:3]
    write_tar(tmp_path / "s" / "a.tar", {k: demo_members[k] for k in keys})
    spec, unit, shard = one_unit(tmp_path / "s")
    changed = unit.model_copy(update={"shard_bytes": 5})
    with pytest.raises(BuildError, match=r"cannot be read one by one: .* changed since the build was planned"):
        find_crashing_records(spec, changed, shard)


def test_a_record_that_kills_before_its_split_is_known_fails_the_unit(
    tmp_path: Path, demo_members: dict[str, Members], killing: None
) -> None:
    """Rejected it would count as planned, passed over it would be lost in silence."""
    keys = sorted(demo_members)[:4]
    splits = ("train", "test", "train", "test")
    rows = [
        {"__key__": key, "json": f'{{"split": "{split}"}}'.encode()} for key, split in zip(keys, splits, strict=True)
    ]
    (tmp_path / "s").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "s" / "a.parquet", row_group_size=2)
    spec, unit, shard = one_unit(tmp_path / "s", split="train")
    assert unit.records == 2
    with pytest.raises(BuildError, match=r"record 2: found bytes that killed .* its split cannot be known"):
        find_crashing_records(spec, unit, shard)
