"""The index of a source: cached, parallel, and rebuilt rather than trusted if it is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dentgen.conditions.readers.raw import ConditionShard, ShardIndex
from dentgen.conditions.readers.source import index_shard, list_shards
from dentgen.pipeline import source_index
from dentgen.pipeline.plan import draft_plan
from dentgen.pipeline.source_index import (
    PackedIndexes,
    index_source,
    is_known,
    place_of,
    read_source_index,
    write_source_index,
)
from dentgen.shards.plan import Plan
from dentgen.spec.build import BuildSpec
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


def kept_plan(spec: BuildSpec) -> Plan:
    """Plan, and store the index of the source as a build does."""
    draft = draft_plan(spec)
    write_source_index(f"{spec.output.path}/plan/source.parquet", draft.shards, draft.indexes)
    return draft.plan


def test_only_changed_shards_are_opened_again(
    small_source: Path, tmp_path: Path, opened: list[str], demo_members: Members
) -> None:
    spec = small_spec(small_source, tmp_path / "out")
    plan = kept_plan(spec)
    assert sorted(opened) == ["a.tar", "b.tar"]
    assert kept_plan(spec) == plan
    assert len(opened) == 2, "the second plan opened nothing"
    key = sorted(demo_members)[7]
    write_tar(small_source / "b.tar", {key: demo_members[key]})
    assert kept_plan(spec) != plan
    assert opened[2:] == ["b.tar"]
    split = str(json.loads(demo_members[key]["json"])["split"])
    kept_plan(small_spec(small_source, tmp_path / "out", source={"split": split}))
    assert sorted(opened[3:]) == ["a.tar", "b.tar"], "splits had not been read"


def test_unreadable_shards_are_tried_again(small_source: Path, tmp_path: Path, opened: list[str]) -> None:
    whole = (small_source / "b.tar").read_bytes()
    (small_source / "b.tar").write_bytes(b"x" * len(whole))
    spec = small_spec(small_source, tmp_path / "out")
    assert sum(bool(unit.problem) for unit in kept_plan(spec).units) == 1
    kept_plan(spec)
    assert sorted(opened) == ["a.tar", "b.tar", "b.tar"]


STRANGE = ShardIndex(("a", "b\udcff", "c\n"), ("train", None, ""), (0, 1, 2, 3), attributes=("{}", "", '{"view": "ä"}'))


def test_an_index_survives_writing_and_strange_keys(tmp_path: Path) -> None:
    url = str(tmp_path / "index.parquet")
    shard = ConditionShard("x.tar", "x.tar", "tar", 3, "tag")
    write_source_index(url, [shard], [STRANGE])
    known = read_source_index(url)
    assert known == {("x.tar", 3, "tag"): STRANGE}
    assert is_known(shard, known, with_metadata=True)
    for other in (
        ConditionShard("y.tar", "x.tar", "tar", 3, "tag"),
        ConditionShard("x.tar", "x.tar", "tar", 4, "tag"),
        ConditionShard("x.tar", "x.tar", "tar", 3, "later"),
    ):
        assert not is_known(other, known, with_metadata=False)


def test_an_index_without_metadata_does_not_answer_for_splits() -> None:
    shard = ConditionShard("x.tar", "x.tar", "tar", 3, "tag")
    known = {place_of(shard): ShardIndex(("a",), None)}
    assert is_known(shard, known, with_metadata=False)
    assert not is_known(shard, known, with_metadata=True)


def test_packed_indexes_are_a_sequence() -> None:
    indexes = [STRANGE, *(ShardIndex((f"r{number}",), None) for number in range(6))]
    packed = PackedIndexes()
    assert len(packed) == 0
    for start, stop in ((0, 1), (1, 5), (5, 7)):
        packed.pack(indexes[start:stop])
    assert list(packed) == indexes
    assert [packed[0], packed[4], packed[6]] == [indexes[0], indexes[4], indexes[6]]
    assert packed[3:6] == indexes[3:6]
    with pytest.raises(IndexError):
        packed[7]


@pytest.mark.integration
def test_many_shards_over_processes_keep_their_order(tmp_path: Path, demo_members: Members) -> None:
    content = demo_members[min(demo_members)]["json"]
    for number in range(150):
        write_tar(tmp_path / f"{number:03d}.tar", {f"r{number}": {"json": content}})
    shards, seen = list_shards(str(tmp_path)), list[tuple[int, int]]()
    found = index_source(shards, {}, with_metadata=False, progress=lambda *counts: seen.append(counts))
    assert [index.keys for index in found] == [(f"r{number}",) for number in range(150)]
    assert seen == [(64, 150), (128, 150), (150, 150)]
    known = {place_of(shard): index for shard, index in zip(shards, found, strict=True)}
    few = index_source(shards, known, with_metadata=False, enough=lambda chunk: len(chunk) >= 10)
    assert len(few) == 64, "indexing ends with the chunk that is enough"


def test_a_missing_index_is_empty(tmp_path: Path) -> None:
    assert read_source_index(str(tmp_path / "source.parquet")) == {}


def test_a_damaged_index_is_never_taken_for_another(tmp_path: Path) -> None:
    """Thrift's errors are none of pyarrow's own, and a flipped bit would give another key or offset."""
    shards = [ConditionShard("x.tar", "/x.tar", "tar", 9000, "tag")]
    url = str(tmp_path / "source.parquet")
    write_source_index(url, shards, [ShardIndex(("first", "second"), ("train", None), (0, 512, 1024))])
    right, data = read_source_index(url), (tmp_path / "source.parquet").read_bytes()
    assert right
    for place in range(0, len(data), 13):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        (tmp_path / "source.parquet").write_bytes(bytes(damaged))
        assert {**right, **read_source_index(url)} == right, f"byte {place}"
