"""Cutting a source into units: full ones, every record once, duplicates and unreadable rests accounted for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dentgen.conditions.readers.raw import ConditionShard, ShardIndex
from dentgen.documents.units import Unit
from dentgen.pipeline.units import cut_units, wanted_positions
from dentgen.spec.build import BuildSpec
from tests.conftest import small_spec


def shards(count: int) -> list[ConditionShard]:
    return [ConditionShard(f"{number}.tar", f"/{number}.tar", "tar", 9000, "") for number in range(count)]


def keys(count: int, name: str = "r") -> tuple[str, ...]:
    return tuple(f"{name}{number}" for number in range(count))


def cut(*indexes: ShardIndex, per_shard: int = 4, variants: int = 1, **source: object) -> list[Unit]:
    spec = small_spec(
        Path("in"), Path("out"),
        sampling={"variants": variants}, pipeline={"samples_per_shard": per_shard}, source=source,
    )  # fmt: skip
    return list(cut_units(shards(len(indexes)), indexes, spec))


def test_ranges_cover_every_record_once_and_in_order() -> None:
    units = cut(ShardIndex(keys(5), None), ShardIndex(keys(3, "s"), None), per_shard=4, variants=2)
    assert [unit.id for unit in units] == list(range(5))
    ranges = [(unit.shard, unit.start, unit.stop, unit.records) for unit in units]
    assert ranges == [
        ("0.tar", 0, 2, 2), ("0.tar", 2, 4, 2), ("0.tar", 4, 5, 1), ("1.tar", 0, 2, 2), ("1.tar", 2, 3, 1),
    ]  # fmt: skip


def test_a_record_with_more_variants_than_a_shard_holds_has_a_unit_of_its_own() -> None:
    assert [unit.records for unit in cut(ShardIndex(keys(3), None), per_shard=2, variants=5)] == [1, 1, 1]


def test_bytes_of_a_tar_are_those_of_its_range() -> None:
    offsets = tuple(512 * number for number in (0, 3, 5, 9))
    units = cut(ShardIndex(keys(3), None, offsets), per_shard=2)
    assert [(unit.first_byte, unit.end_byte) for unit in units] == [(0, 512 * 5), (512 * 5, 512 * 9)]
    assert [(unit.first_byte, unit.end_byte) for unit in cut(ShardIndex(keys(3), None), per_shard=3)] == [(0, 0)]


def test_a_small_split_gives_full_units() -> None:
    """Ten percent of 160 records are one unit of 16, not one for every 64 records of the shard."""
    splits = tuple("validation" if number % 10 == 0 else "train" for number in range(160))
    index = ShardIndex(keys(160), splits, tuple(range(0, 161 * 512, 512)))
    (unit,) = cut(index, per_shard=64, variants=4, split="validation")
    assert (unit.start, unit.stop, unit.records) == (0, 151, 16)
    assert unit.samples(4) == 64
    others = cut(index, per_shard=64, variants=4, split="train")
    assert [unit.records for unit in others] == [16] * 9
    assert [unit.start for unit in others][:2] == [1, 18]


def test_records_without_a_readable_split_belong_to_every_split() -> None:
    index = ShardIndex(keys(4), ("train", None, "test", ""), ())
    assert wanted_positions(index, "train") == [0, 1]
    assert wanted_positions(index, "") == [1, 3]
    assert wanted_positions(index, None) == [0, 1, 2, 3]
    assert wanted_positions(ShardIndex(keys(2), None), "train") == [0, 1], "splits were not read"


@pytest.mark.parametrize(("limit", "records"), [(1, [1]), (4, [2, 2]), (6, [2, 2, 1, 1]), (100, [2, 2, 1, 2])])
def test_a_limit_takes_the_first_records(limit: int, records: list[int]) -> None:
    units = cut(ShardIndex(keys(5), None), ShardIndex(keys(2, "s"), None), per_shard=2, limit=limit)
    assert [unit.records for unit in units] == records


def test_the_unreadable_rest_of_a_shard_is_one_more_record() -> None:
    broken = ShardIndex(keys(2), None, (0, 512, 1024), "0.tar: cut off", "r2")
    units = cut(broken, ShardIndex(keys(1, "s"), None))
    assert [(unit.start, unit.stop, unit.records, unit.problem, unit.problem_key) for unit in units] == [
        (0, 2, 2, "", ""),
        (2, 3, 1, "0.tar: cut off", "r2"),
        (0, 1, 1, "", ""),
    ]
    assert [unit.problem for unit in cut(broken, limit=2)] == [""], "it is not among the first two records"


def test_an_unreadable_shard_is_one_record() -> None:
    (unit,) = cut(ShardIndex((), None, (), "0.tar: no archive"))
    assert (unit.start, unit.stop, unit.records, unit.problem) == (0, 1, 1, "0.tar: no archive")


def test_duplicates_are_found_across_shards_in_any_order() -> None:
    """The first record of a key stays, all later ones are listed."""
    units = cut(ShardIndex(("a", "b"), None), ShardIndex(("b", "c", "b"), None), ShardIndex(("d", "a"), None))
    assert [unit.duplicates for unit in units] == [(), (0, 2), (1,)]


def test_a_duplicate_in_another_split_does_not_count() -> None:
    index = ShardIndex(("a", "a"), ("train", "test"))
    assert [unit.duplicates for unit in cut(index, split="test")] == [()]


def oversampled(*lightings: str) -> ShardIndex:
    attributes = tuple(json.dumps({"lighting": lighting}) for lighting in lightings)
    return ShardIndex(keys(len(lightings)), None, (), attributes=attributes)


def test_oversampled_records_fill_units_by_their_repeats() -> None:
    index = oversampled("ring", "harsh", "ring", "ring", "harsh", "ring")
    units = cut(index, per_shard=8, variants=2, oversample={"lighting": {"harsh": 3}})
    assert [unit.repeats for unit in units] == [(1, 3), (1, 1), (3, 1)]
    assert [unit.samples(2) for unit in units] == [8, 4, 8]
    assert [(unit.start, unit.stop) for unit in units] == [(0, 2), (2, 4), (4, 6)]


def test_a_record_oversampled_beyond_a_shard_has_a_unit_of_its_own() -> None:
    units = cut(oversampled("harsh", "ring"), per_shard=4, oversample={"lighting": {"harsh": 9}})
    assert [unit.repeats for unit in units] == [(9,), (1,)]


def test_no_shards_are_no_units() -> None:
    assert list(cut_units([], [], BuildSpec())) == []
