"""The condition shards that a build knows: the newest word on each, and the keys that are taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.conditions.readers.raw import ConditionShard, ShardIndex
from dentgen.documents.units import Unit
from dentgen.errors import StorageError
from dentgen.pipeline.known_source import (
    gone_rows,
    known_shards,
    lost_indexes,
    note_copies,
    note_shards,
    segment_source,
    taken_keys,
)
from dentgen.pipeline.source_index import write_source_index
from dentgen.shards import layout
from dentgen.shards.plan import Plan
from dentgen.shards.unit_table import UnitTable
from tests.report.fake_builds import fake_plan


def shard(name: str, tag: str = "1") -> ConditionShard:
    return ConditionShard(name, f"/{name}", "tar", 9, tag)


def unit(number: int, name: str, start: int, stop: int) -> Unit:
    return Unit(id=number, shard=name, start=start, stop=stop, records=stop - start, shard_bytes=9, shard_tag="1",
                shard_content=f"sha256:{name}")  # fmt: skip


def index(*keys: str, splits: tuple[str | None, ...] | None = None) -> ShardIndex:
    return ShardIndex(keys, splits, content="sha256:" + "".join(keys))


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Two segments: ``a`` and ``b``, then ``b`` anew and ``c``; ``d`` came with the first and is gone."""
    one = fake_plan()
    first = [unit(0, "a", 0, 2), unit(1, "b", 0, 2), unit(2, "d", 0, 1)]
    second = [unit(3, "b", 0, 1), unit(4, "c", 0, 2)]
    units = UnitTable.joined([UnitTable.of(first), UnitTable.of(second, 3)], [1, 2])
    shards = [shard("a"), shard("b"), shard("d")]
    write_source_index(url(tmp_path, 0), shards, [index("a0", "a1", "a2"), index("b0", "b1"), index("d0")])
    gone, nothing = gone_rows(["d"])
    write_source_index(
        url(tmp_path, 1), [shard("b", "2"), shard("c"), *gone],
        [index("new0"), index("c0", "c1", splits=("train", None)), *nothing],
    )  # fmt: skip
    return Plan(1, one.spec, one.spec_digest, one.bundle_digest, one.environment, units, firsts=(0, 3),
                retires=((), (1, 2)))  # fmt: skip


def url(out: Path, segment: int) -> str:
    return str(out / layout.source_index(segment))


def test_the_newest_segment_tells_of_a_shard(tmp_path: Path, plan: Plan) -> None:
    known = known_shards(str(tmp_path), plan)
    assert {name: (one.segment, one.tag, one.content) for name, one in known.items()} == {
        "a": (0, "1", "sha256:a0a1a2"), "b": (1, "2", "sha256:new0"), "c": (1, "1", "sha256:c0c1"),
    }  # fmt: skip


def test_units_tell_of_shards_whose_index_is_lost(tmp_path: Path, plan: Plan) -> None:
    Path(url(tmp_path, 0)).unlink()
    Path(url(tmp_path, 1)).write_bytes(b"PAR1")
    assert lost_indexes(str(tmp_path), plan) == [0, 1]
    known = known_shards(str(tmp_path), plan)
    assert {name: one.segment for name, one in known.items()} == {"a": 0, "b": 1, "c": 1}
    assert known["a"].content == "sha256:a"
    with pytest.raises(StorageError) as caught:
        taken_keys(str(tmp_path), plan, [index("a0")], None)
    assert caught.value.file == url(tmp_path, 0)


@pytest.mark.parametrize(
    ("split", "taken"), [(None, {"a0", "a1", "new0", "c0", "c1"}), ("train", {"a0", "a1", "new0", "c0", "c1"}),
                         ("test", {"a0", "a1", "new0", "c1"})]
)  # fmt: skip
def test_keys_are_taken_where_a_unit_covers_them(
    split: str | None, taken: set[str], tmp_path: Path, plan: Plan
) -> None:
    """Neither ``a2``, beyond the units, nor those of retired units."""
    new = [index("a0", "a1", "a2", "b0"), index("b1", "new0", "c0", "c1", "d0", "other")]
    assert taken_keys(str(tmp_path), plan, new, split) == taken


def test_copies_are_noted_where_they_are_known_from(tmp_path: Path, plan: Plan) -> None:
    before = known_shards(str(tmp_path), plan)
    first = Path(url(tmp_path, 0)).read_bytes()
    note_copies(str(tmp_path), plan, [shard("b", "7")], before)
    assert known_shards(str(tmp_path), plan)["b"].tag == "7"
    assert Path(url(tmp_path, 0)).read_bytes() == first
    assert taken_keys(str(tmp_path), plan, [index("new0")], None) == {"new0"}


def test_shards_without_a_unit_are_known_as_they_were_noted_last(tmp_path: Path, plan: Plan) -> None:
    out, (gone, nothing) = str(tmp_path), gone_rows(["a"])
    for tag in ("5", "6"):
        note_shards(out, plan, [shard("e", tag), *gone], [index("e0"), *nothing])
    known = known_shards(out, plan)
    assert {name: (one.segment, one.tag) for name, one in known.items()} == {
        "b": (1, "2"), "c": (1, "1"), "e": (1, "6"),
    }  # fmt: skip
    shards, indexes = segment_source(out, 1)
    assert ([one.name for one in shards], indexes[2].keys) == (["b", "c", "e"], ("e0",))
    note_shards(out, plan, [shard("a", "7")], [index("a0")])
    assert known_shards(out, plan)["a"].tag == "7", "it returned"


def test_the_source_of_a_segment_is_without_what_is_gone(tmp_path: Path, plan: Plan) -> None:
    shards, indexes = segment_source(str(tmp_path), 1)
    assert ([one.name for one in shards], [one.keys for one in indexes]) == (["b", "c"], [("new0",), ("c0", "c1")])
    shards, indexes = segment_source(str(tmp_path), 0)
    assert len(shards) == len(indexes) == 3
