"""Packed units: the same units come back, whole or in part, and take a few bytes each."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pytest

from dentgen.documents.units import Unit
from dentgen.shards.packed_units import CHUNK, SCHEMA, PackedUnits, packed, require_numbered


def unit(number: int) -> Unit:
    return Unit(id=number, shard=f"{number // 100}.tar", start=number, stop=number + 2, records=2, shard_bytes=9)


def table(numbers: Iterable[int]) -> pa.Table:
    units = (replace(unit(7), id=7, repeats=(2, 3), duplicates=(1,)) if n == 7 else unit(n) for n in numbers)
    return pa.Table.from_pylist([asdict(one) for one in units], schema=SCHEMA)


def numbers(parts: Iterable[PackedUnits]) -> list[int]:
    return [number for part in parts for number in part.table()["id"].to_pylist()]


def test_units_come_back_as_they_were() -> None:
    whole = table(range(5, 12))
    part = pickle.loads(pickle.dumps(PackedUnits.of(whole)))  # as it travels to actors
    assert part.table().equals(whole)
    assert (part.count, part.first, part.last, part.records) == (7, 5, 11, 14)
    assert part.samples() == 6 * 2 + (2 + 3)
    assert part.numbers().tolist() == list(range(5, 12))


def test_many_units_are_packed_in_chunks() -> None:
    parts = list(packed(table(range(2 * CHUNK + 1))))
    assert [(part.first, part.count) for part in parts] == [(0, CHUNK), (CHUNK, CHUNK), (2 * CHUNK, 1)]
    assert list(packed(SCHEMA.empty_table())) == []


def test_units_are_selected_by_their_numbers() -> None:
    part = PackedUnits.of(table([3, 4, 6, 9]))
    assert not part.is_dense
    assert part.numbers().tolist() == [3, 4, 6, 9]
    named = np.array([0, 4, 5, 9, 20])
    assert numbers(part.selected(named, keep=True)) == [4, 9]
    assert numbers(part.selected(named, keep=False)) == [3, 6]
    assert list(part.selected(np.array([2, 10]), keep=False)) == [part], "nothing to unpack"
    assert list(part.selected(np.array([2, 10]), keep=True)) == []
    assert list(part.selected(np.array([3, 4, 6, 9]), keep=False)) == []


@pytest.mark.parametrize(
    ("first", "stop", "found"),
    [(0, 99, [3, 4, 6, 9]), (3, 10, [3, 4, 6, 9]), (4, 9, [4, 6]), (5, 6, []), (9, 10, [9]), (10, 99, []), (0, 3, [])],
)
def test_units_are_cut_by_their_numbers(first: int, stop: int, found: list[int]) -> None:
    part = PackedUnits.of(table([3, 4, 6, 9]))
    assert numbers(part.between(first, stop)) == found


def test_units_have_to_count_on() -> None:
    require_numbered(table(range(5, 9)), 5)
    for wrong, first in ((table([5, 7]), 5), (table([5, 6]), 4), (table([6, 5]), 6)):
        with pytest.raises(ValueError, match=r"row 2[01]"):
            require_numbered(wrong, first, 20)
    with pytest.raises(ValueError, match="columns"):
        require_numbered(table([0]).drop_columns(["shard"]), 0)
    nulls = table([0]).set_column(1, "shard", pa.array([None], pa.string()))
    with pytest.raises(ValueError, match=r"nulls in \['shard'\]"):
        require_numbered(nulls, 0)
