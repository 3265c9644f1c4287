"""Units as a table: the same units come back, in memory and from Parquet."""

from __future__ import annotations

import io
import json
import tracemalloc
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dentgen.documents.units import Unit
from dentgen.shards.packed_units import CHUNK, SCHEMA
from dentgen.shards.unit_table import UnitTable, unit_of


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
        UnitTable.of_tables([rows])


def test_another_file_is_rejected() -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": [0]}), buffer)
    whole = UnitTable.of(UNITS).to_parquet()
    for content in (b"", b"PAR1 nothing", whole[:-9], buffer.getvalue()):
        with pytest.raises(ValueError, match=r"Parquet|columns"):
            UnitTable.from_parquet(content)


def segment(number: int, units: int = 1000, per_shard: int = 100) -> pa.Table:
    """Units as those of a plan segment: shards of a hundred, each with its tag and digest."""
    ids = np.arange(number * units, (number + 1) * units)
    within, names = ids % per_shard, [f"day-{number:04d}-{n // per_shard:02d}.tar" for n in range(units)]
    columns = {
        "id": ids, "shard": names, "start": within * 16, "stop": within * 16 + 16, "records": np.full(units, 16),
        "shard_bytes": np.full(units, 2**25), "first_byte": within * 2**18, "end_byte": (within + 1) * 2**18,
        "duplicates": [[]] * units, "repeats": [[]] * units, "problem": [""] * units, "problem_key": [""] * units,
        "shard_tag": [f"17{number:08d}.25"] * units, "shard_content": [f"sha256:{hash(name):064x}" for name in names],
    }  # fmt: skip
    return pa.table({f.name: pa.array(columns[f.name], f.type) for f in SCHEMA}, schema=SCHEMA)


def held(units: int) -> int:
    """Bytes that a table of many segments takes, and the most that looking through it took."""
    segment(0)  # numpy and pyarrow import on first use
    arrow = pa.total_allocated_bytes()
    tracemalloc.start()
    table = UnitTable.of_tables(segment(number) for number in range(units // 1000))
    joined = UnitTable.joined([table.between(0, units // 2), table.between(units // 2, units)])
    assert (len(joined), joined.records, joined.samples(2)) == (units, 16 * units, 32 * units)
    assert len(joined.planned_until()) == units // 100
    assert joined.number_of(units - 1) == units - 1
    kept = tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes() - arrow
    tracemalloc.stop()
    return kept


def test_a_unit_takes_a_few_bytes() -> None:
    """As columns it would take about two hundred, as an object a thousand."""
    each = (held(40_000) - held(10_000)) / 30_000
    assert each < 40, f"{each:.0f} bytes a unit"


@pytest.mark.integration
def test_row_groups_are_those_of_a_table_that_is_written_whole() -> None:
    """Plans that were written before units were packed keep their bytes, and their digests."""
    whole = pa.concat_tables([segment(number) for number in range(270)])
    buffer = io.BytesIO()
    pq.write_table(whole.combine_chunks(), buffer, compression="zstd", row_group_size=64 * 4096)
    assert UnitTable.of_tables([whole]).to_parquet() == buffer.getvalue()
    buffer = io.BytesIO()
    pq.write_table(SCHEMA.empty_table(), buffer, compression="zstd", row_group_size=64 * 4096)
    assert UnitTable().to_parquet() == buffer.getvalue()
    assert UnitTable.from_parquet(buffer.getvalue()) == UnitTable()


def test_units_of_several_tables_are_found_by_number_where_some_are_missing() -> None:
    """Across the borders of what is packed together."""
    tables = [UnitTable.of(map(unit, range(5000))), UnitTable.of(map(unit, range(5000, 5010)), 5000)]
    gone = {0, 17, 4096, 4999, 5000, 5009}
    table = UnitTable.joined(tables, gone)
    left = [number for number in range(5010) if number not in gone]
    assert (list(table.numbers()), table.ids.tolist(), len(table), table.last) == (left, left, len(left), 5008)
    assert [table.number_of(number) for number in (0, 1, 17, 18, 4096, 4097, 5000, 5001, 5009, 9999, -1)] == [
        None, 0, None, 16, None, 4094, None, 4996, None, None, None,
    ]  # fmt: skip
    assert [table[row].id for row in (0, 16, 4094, 4996, -1)] == [1, 18, 4097, 5001, 5008]
    assert [one.id for one in table.select(np.array([5001, 17, 4095, 1]))] == [1, 4095, 5001]
    assert list(table.between(4094, 5002).numbers()) == [number for number in left if 4094 <= number < 5002]
    assert list(UnitTable.joined(tables).only(gone).numbers()) == sorted(gone)
    assert table.find(5001) == unit(5001)
    with pytest.raises(KeyError):
        table.find(4999)


def test_equality_does_not_depend_on_how_units_are_packed() -> None:
    whole = UnitTable.of(map(unit, range(CHUNK + 10)))
    pieces = UnitTable.joined(
        UnitTable.of(map(unit, range(n, min(n + 900, CHUNK + 10))), n) for n in range(0, 4500, 900)
    )
    assert len(pieces.parts) > len(whole.parts)
    assert pieces == whole
    assert pieces.same_units(whole)
    assert pieces.to_parquet() == whole.to_parquet()
    assert pieces != UnitTable.joined([pieces.between(0, 9), pieces.between(10, 9999)])


def test_tables_out_of_order_are_not_joined() -> None:
    with pytest.raises(ValueError, match="unit 0 after unit 2"):
        UnitTable.joined([UnitTable.of(UNITS), UnitTable.of(UNITS)])
