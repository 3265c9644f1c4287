"""The index of a source is read once: what did not change is not opened again."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.conditions.readers.raw import ConditionShard, ShardIndex
from dentgen.conditions.readers.source import index_shard, list_shards
from dentgen.pipeline import source_index
from dentgen.pipeline.plan import make_plan
from dentgen.pipeline.source_index import index_source, read_source_index, write_source_index
from tests.conftest import small_spec, write_tar

Members = dict[str, dict[str, bytes]]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the shards that are opened."""
    names: list[str] = []

    def counted(shard: ConditionShard, *, with_metadata: bool) -> ShardIndex:
        names.append(shard.name)
        return index_shard(shard, with_metadata=with_metadata)

    monkeypatch.setattr(source_index, "index_shard", counted)
    return names


def test_only_what_changed_is_opened_again(
    small_source: Path, tmp_path: Path, opened: list[str], demo_members: Members
) -> None:
    spec = small_spec(small_source, tmp_path / "out")
    plan = make_plan(spec)
    assert sorted(opened) == ["a.tar", "b.tar"]
    assert make_plan(spec) == plan
    assert len(opened) == 2, "the second plan opened nothing"
    key = sorted(demo_members)[7]
    write_tar(small_source / "b.tar", {key: demo_members[key]})
    assert make_plan(spec) != plan
    assert opened[2:] == ["b.tar"]
    make_plan(small_spec(small_source, tmp_path / "out", source={"split": demo_split(demo_members, key)}))
    assert sorted(opened[3:]) == ["a.tar", "b.tar"], "splits were not asked for before"


def demo_split(members: Members, key: str) -> str:
    import json

    return str(json.loads(members[key]["json"])["split"])


def test_what_could_not_be_read_is_tried_again(small_source: Path, tmp_path: Path, opened: list[str]) -> None:
    whole = (small_source / "b.tar").read_bytes()
    (small_source / "b.tar").write_bytes(b"x" * len(whole))
    spec = small_spec(small_source, tmp_path / "out")
    assert sum(bool(unit.problem) for unit in make_plan(spec).units) == 1
    make_plan(spec)
    assert sorted(opened) == ["a.tar", "b.tar", "b.tar"]


def test_an_index_survives_writing_and_strange_keys(tmp_path: Path) -> None:
    url = str(tmp_path / "index.parquet")
    shard = ConditionShard("x.tar", "x.tar", "tar", 3, "tag")
    index = ShardIndex(("a", "b\udcff", "c\n"), ("train", None, ""), (0, 1, 2, 3))
    write_source_index(url, [shard], [index])
    assert read_source_index(url) == {("x.tar", 3, "tag"): index}
    (tmp_path / "index.parquet").write_bytes(b"damaged")
    assert read_source_index(url) == {}, "an index is made again rather than trusted"


def test_many_shards_over_processes_keep_their_order(tmp_path: Path, demo_members: Members) -> None:
    keys = sorted(demo_members)
    for number in range(150):
        write_tar(tmp_path / f"{number:03d}.tar", {f"r{number}": {"json": demo_members[keys[0]]["json"]}})
    told: list[tuple[int, int]] = []
    found = index_source(
        list_shards(str(tmp_path)), {}, with_metadata=False, progress=lambda done, count: told.append((done, count))
    )
    assert [index.keys for index in found] == [(f"r{number}",) for number in range(150)]
    assert told == [(64, 150), (128, 150), (150, 150)]
    few = index_source(list_shards(str(tmp_path)), {}, with_metadata=False, enough=lambda found: len(found) >= 10)
    assert len(few) == 64, "indexing ends with the chunk that is enough"


def test_a_damaged_index_is_made_anew(tmp_path: Path) -> None:
    """Thrift's errors are none of pyarrow's own, and a flipped bit would be another key or place."""
    shards = [ConditionShard("x.tar", "/x.tar", "tar", 9000, "tag")]
    url = str(tmp_path / "source.parquet")
    write_source_index(url, shards, [ShardIndex(("first", "second"), ("train", None), (0, 512, 1024))])
    right, data = read_source_index(url), (tmp_path / "source.parquet").read_bytes()
    assert right
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        (tmp_path / "source.parquet").write_bytes(bytes(damaged))
        assert {**right, **read_source_index(url)} == right, f"byte {place}"
