"""Units as a table: the same units come back, in memory and from Parquet."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dentgen.documents import Unit
from dentgen.shards.unit_table import SCHEMA, UnitTable, unit_of


def unit(number: int) -> Unit:
    return Unit(id=number, shard="a.tar", start=number, stop=number + 1, records=1, shard_bytes=9)


UNITS = (
    replace(unit(0), duplicates=(0, 3), repeats=(2, 1, 4), records=3),
    replace(unit(1), first_byte=512, end_byte=2**40),
    replace(unit(2), problem='a.tar: cut off\nat "byte" 9', problem_key="kä"),
)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_units_come_back_from_memory_and_from_parquet(count: int) -> None:
    table = UnitTable.of(UNITS[:count])
    assert list(table) == list(UNITS[:count])
    assert len(table) == count
    assert UnitTable.from_parquet(table.to_parquet()) == table
    assert list(UnitTable.from_parquet(table.to_parquet())) == list(UNITS[:count])


def test_parquet_bytes_depend_on_the_units_alone() -> None:
    assert UnitTable.of(UNITS).to_parquet() == UnitTable.of(iter(UNITS)).to_parquet()
    assert UnitTable.of(UNITS).to_parquet() != UnitTable.of(UNITS[:2]).to_parquet()


def test_units_are_found_by_place() -> None:
    """More units than one chunk holds."""
    table = UnitTable.of(map(unit, range(5000)))
    assert [table[place].id for place in (0, 4095, 4096, 4999, -1, -5000)] == [0, 4095, 4096, 4999, 4999, 0]
    assert [one.id for one in table[4094:4099:2]] == [4094, 4096, 4098]
    assert [one.id for one in table] == list(range(5000))
    for place in (5000, -5001):
        with pytest.raises(IndexError):
            table[place]


def test_tables_are_equal_if_their_units_are() -> None:
    changed = [UNITS[0], replace(UNITS[1], end_byte=7), UNITS[2]]
    assert UnitTable.of(UNITS) == UnitTable.of(UNITS)
    assert hash(UnitTable.of(UNITS)) == hash(UnitTable.of(UNITS))
    assert UnitTable.of(UNITS) != UnitTable.of(changed)
    assert UnitTable.of(UNITS) != list(UNITS)


def test_samples_count_repeats_where_there_are_any() -> None:
    table = UnitTable.of(UNITS)
    assert table.samples(10) == 10 * ((2 + 1 + 4) + 1 + 1)
    assert table.samples(10) == sum(one.samples(10) for one in table)


def test_a_unit_survives_json() -> None:
    assert [unit_of(json.loads(json.dumps(asdict(one)))) for one in UNITS] == list(UNITS)


WRONG = {
    "numbers that skip one": [unit(0), unit(2)],
    "numbers out of order": [unit(1), unit(0)],
    "a unit that ends before it starts": [unit(0), replace(unit(1), stop=0)],
}


@pytest.mark.parametrize("case", WRONG)
def test_misnumbered_and_empty_units_are_rejected(case: str) -> None:
    rows = pa.Table.from_pylist([asdict(one) for one in WRONG[case]], schema=SCHEMA)
    with pytest.raises(ValueError, match="row"):
        UnitTable(rows)


def test_another_file_is_rejected() -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": [0]}), buffer)
    whole = UnitTable.of(UNITS).to_parquet()
    for content in (b"", b"PAR1 nothing", whole[:-9], buffer.getvalue()):
        with pytest.raises(ValueError, match=r"Parquet|columns"):
            UnitTable.from_parquet(content)
