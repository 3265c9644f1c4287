"""Parquet files: which columns are members, and damage costs only the rows that it touches."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dentgen.conditions.readers.parquet import index_parquet
from dentgen.conditions.readers.raw import RecordRange
from dentgen.conditions.readers.source import read_records
from dentgen.errors import ConditionError
from tests.conditions.readers.sources import index, only_shard, read


def write(path: Path, columns: dict[str, object]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_binary_columns_are_members_and_other_columns_are_ignored(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.parquet",
        {"__key__": ["a", "b"], "SEG.png": [b"x", None], "json": ["{}", None], "note": ["n", "n"], "number": [1, 2]},
    )
    first, second = read(path)
    assert (first.key, first.place, first.members) == ("a", "x.parquet: a", {"seg.png": b"x", "json": b"{}"})
    assert (second.key, second.members, second.problem) == ("b", {}, None)


def test_ranges_cross_row_groups(tmp_path: Path) -> None:
    table = pa.table({"__key__": [f"k{n}" for n in range(7)], "seg.png": [bytes([n]) for n in range(7)]})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=3)
    for start, stop in ((0, 7), (2, 4), (3, 6), (6, 7)):
        records = read_records(only_shard(tmp_path), RecordRange(start, stop))
        assert [raw.members["seg.png"][0] for raw in records] == list(range(start, stop))


def test_metadata_outside_the_json_column_are_rejected(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.parquet",
        {"__key__": ["a"], "seg.png": [b"x"], "prompt": ["teeth"], "split": ["train"], "id": [7]},
    )
    with pytest.raises(ConditionError) as caught:
        list(read(path))
    assert caught.value.file.endswith("x.parquet")
    assert "['prompt', 'split']" in caught.value.found
    assert "'json'" in caught.value.expected
    assert index(path).problem == str(caught.value)


@pytest.mark.parametrize("column", [("JSON", ["{}"]), ("json", [1]), ("json", [[1]]), ("Json", [b"{}"])])
def test_metadata_column_must_be_text_named_json(column: tuple[str, list[object]], tmp_path: Path) -> None:
    """Under another name the splits would be lost silently."""
    path = write(tmp_path / "x.parquet", {"__key__": ["a"], column[0]: column[1]})
    assert f"['{column[0]}: " in index(path, with_metadata=True).problem


def test_file_without_a_footer_is_reported(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ConditionError) as caught:
        read(tmp_path)
    assert caught.value.file.endswith("x.parquet")
    assert index(tmp_path).problem == str(caught.value)


def test_file_without_keys_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConditionError) as caught:
        read(write(tmp_path / "x.parquet", {"name": ["a"]}))
    assert "['name']" in caught.value.found
    assert "'__key__'" in caught.value.expected


def test_file_without_rows_is_reported(tmp_path: Path) -> None:
    shard = only_shard(write(tmp_path / "x.parquet", {"__key__": pa.array([], pa.string())}))
    found = index_parquet(shard, with_metadata=False)
    assert found.keys == ()
    assert "x.parquet" in found.problem


def test_null_key_is_empty(tmp_path: Path) -> None:
    """An empty key is rejected later; a record called "None" would not be."""
    path = write(tmp_path / "x.parquet", {"__key__": pa.array([b"a", None], pa.binary()), "json": ["{}", "{}"]})
    assert index(path).keys == ("a", "")


def test_member_columns_must_be_binary(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {"__key__": ["a"], "fdi.png": [{"bytes": b"x"}]})
    assert "fdi.png: struct" in index(path).problem


def test_columns_that_differ_only_in_case_are_rejected(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {"__key__": ["a"], "seg.png": [b"x"], "SEG.png": [b"y"]})
    assert all(column in index(path).problem for column in ("seg.png", "SEG.png"))


def test_damaged_page_costs_only_the_rows_of_its_group(tmp_path: Path) -> None:
    rows = [{"__key__": f"k{n}", "seg.png": bytes([n]) * 999} for n in range(4)]
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    at = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
    data[at : at + 20] = b"\xff" * 20
    path.write_bytes(bytes(data))
    assert index(path).keys == ("k0", "k1", "k2", "k3")
    records = read(path)
    assert [raw.problem is None for raw in records] == [False, False, True, True]
    assert records[0].problem is not None
    assert records[0].problem.file == "x.parquet: k0"
    assert [raw.members["seg.png"][0] for raw in records[2:]] == [2, 3]


def test_page_checksums_are_verified(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    table = pa.table({"__key__": ["first", "second"], "seg.png": [b"right", b"wrong"]})
    pq.write_table(table, path, write_page_checksum=True, compression="none", use_dictionary=False)
    assert [raw.problem for raw in read(path)] == [None, None]
    path.write_bytes(path.read_bytes().replace(b"right", b"Right"))
    assert all(raw.problem is not None for raw in read(path))


def test_error_of_pyarrow_is_on_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {"__key__": ["a"]})
    data = bytearray(path.read_bytes())
    data[-40:-8] = b"\xff" * 32
    path.write_bytes(bytes(data))
    problem = index(path).problem
    assert problem
    assert problem.isprintable()


def test_row_group_is_not_held_in_memory(tmp_path: Path) -> None:
    """A dictionary page of a few bytes stands for a large member in every row."""
    path, rows = tmp_path / "x.parquet", 200
    members = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([bytes(2**20)]))
    table = pa.table({"__key__": [str(n) for n in range(rows)], "seg.png": members.cast(pa.binary())})
    pq.write_table(table, path, compression="zstd")
    tracemalloc.start()
    try:
        assert len(next(read_records(only_shard(path))).members["seg.png"]) == 2**20
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * 2**20
