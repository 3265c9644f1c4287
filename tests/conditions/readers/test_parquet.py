"""Parquet files: which columns are members, and damage costs only the rows that it touches."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dentgen.conditions.readers.parquet import index_parquet
from dentgen.conditions.readers.raw import RecordRange, ShardIndex
from dentgen.conditions.readers.source import read_records
from dentgen.errors import ConditionError
from tests.conditions.readers.sources import index, only_shard, read
from tests.conftest import ROOT


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


def test_file_without_rows_has_nothing_to_reject(tmp_path: Path) -> None:
    """Spark writes a part for every partition, and _SUCCESS beside them."""
    shard = only_shard(write(tmp_path / "x.parquet", {"__key__": pa.array([], pa.string())}))
    assert index_parquet(shard, with_metadata=True) == ShardIndex((), (), attributes=())
    assert list(read_records(shard)) == []


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (pa.array([17, 18]), ("17", "18")),
        (pa.array(["a", "b"]).dictionary_encode(), ("a", "b")),
        (pa.array(["a", None], pa.large_string()), ("a", "")),
        (pa.array([b"a", b"\xff"], pa.binary()), ("a", "\udcff")),
        (
            pa.StringArray.from_buffers(2, pa.py_buffer(struct.pack("<3i", 0, 1, 2)), pa.py_buffer(b"\xffb")),
            ("\udcff", "b"),
        ),
    ],
)
def test_keys_are_text_or_whole_numbers(keys: pa.Array, expected: tuple[str, ...], tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {"__key__": keys, "json": ["{}", "{}"]})
    assert index(path, with_metadata=True).keys == expected
    assert tuple(raw.key for raw in read(path)) == expected


@pytest.mark.parametrize(
    "keys",
    [
        pa.array([1.5, 2.5]), pa.array([True, False]), pa.array([[1], [2]]), pa.array([{"a": 1}, {"a": 2}]),
        pa.array([None, None]), pa.array([Decimal("1.5")] * 2), pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 2),
    ],
)  # fmt: skip
def test_keys_of_other_types_are_refused_by_name(keys: pa.Array, tmp_path: Path) -> None:
    problem = index(write(tmp_path / "x.parquet", {"__key__": keys})).problem
    assert "x.parquet" in problem
    assert f"of type {str(keys.type)[:4]}" in problem


def test_invalid_text_costs_only_its_record(tmp_path: Path) -> None:
    text = pa.StringArray.from_buffers(2, pa.py_buffer(struct.pack("<3i", 0, 2, 4)), pa.py_buffer(b"{}{\xff"))
    found = index(write(tmp_path / "x.parquet", {"__key__": ["a", "b"], "json": text}), with_metadata=True)
    assert (found.keys, found.splits, found.problem) == (("a", "b"), ("", None), "")


def test_too_large_cell_costs_only_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dentgen.conditions.readers.parquet.MAX_MEMBER_BYTES", 100)
    cells = {"__key__": ["a", "b"], "seg.png": [os.urandom(101), b"y"]}
    first, second = read(write(tmp_path / "x.parquet", cells))
    assert first.problem is not None
    assert (first.problem.file, first.members) == ("x.parquet: a.seg.png", {"seg.png": b""})
    assert "101" in first.problem.found
    assert (second.problem, second.members) == (None, {"seg.png": b"y"})


def test_a_footer_that_promises_more_rows_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {"__key__": ["a", "b"]})
    data = path.read_bytes()
    few, many = bytes.fromhex("1604"), bytes.fromhex("16feffffff0f")  # field 3 of a row group: 2 and 2**31 - 1 rows
    at = data.rindex(few)
    length = struct.unpack("<I", data[-8:-4])[0] + len(many) - len(few)
    path.write_bytes(data[:at] + many + data[at + len(few) : -8] + struct.pack("<I", length) + b"PAR1")
    assert pq.ParquetFile(path).metadata.row_group(0).num_rows == 2**31 - 1
    assert "2 rows" in index(path).problem


#: Writes a small file that expands to gigabytes.
BOMBS = {
    "zstd": ("zstd", False, {"__key__": ["a"] * 40, "seg.png": [bytes(2**26)] * 40}),
    "dictionary": ("none", True, {"__key__": ["a"] * 2500, "seg.png": [bytes(2**20)] * 2500}),
    "metadata": ("zstd", True, {"__key__": ["a"] * 2500, "json": ["x" * 2**20] * 2500}),
    "keys": ("zstd", True, {"__key__": ["k" * 2**20] * 1200, "seg.png": [b"x"] * 1200}),
    "plain keys": ("zstd", False, {"__key__": ["k" * 2**20] * 600, "seg.png": [b"x"] * 600}),
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads peak memory from /proc")
@pytest.mark.parametrize("case", BOMBS)
def test_small_files_do_not_expand_to_gigabytes(case: str, tmp_path: Path) -> None:
    """Indexing and reading, in a process of its own: every row is counted or the file is refused by name."""
    compression, dictionary, columns = BOMBS[case]
    table = pa.table(columns)
    pq.write_table(table, tmp_path / "x.parquet", compression=compression, use_dictionary=dictionary,
                   dictionary_pagesize_limit=2**30)  # fmt: skip
    assert (tmp_path / "x.parquet").stat().st_size < 2 * 2**20
    code = (
        "import re, sys\n"
        "from dentgen.conditions.readers.source import *\n"
        "from dentgen.errors import ConditionError\n"
        "(shard,) = list_shards(sys.argv[1])\n"
        "found, count = index_shard(shard, with_metadata=True), 0\n"
        "try:\n"
        "    for raw in read_records(shard): count += 1\n"
        "except ConditionError: count = 0\n"
        "print(len(found.keys), count, bool(found.problem))\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    keys, read_rows, problem, peak = run.stdout.split()
    assert int(keys) == int(read_rows) == (0 if problem == "True" else table.num_rows)
    assert int(peak) < 2**20, "kilobytes"


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
