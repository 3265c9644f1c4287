"""Selections come back as they were written; those of another index, and other files, are refused."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dentgen.errors import SpecError, StorageError
from dentgen.shards.index_reader import index_sha256, read_index
from dentgen.shards.selection_file import Selection, read_selection, selection_of, write_selection
from tests.report.fake_builds import fake_build, written

CHOSEN = Selection("d" * 64, ("b", "a", "c"), ("1.tar", "0.tar", "1.tar"), {"by": "random", "seed": 3})


def test_what_is_written_is_read_in_the_order_of_ranks(tmp_path: Path) -> None:
    file = str(tmp_path / "selection.parquet")
    write_selection(file, CHOSEN)
    assert read_selection(file) == CHOSEN
    table = pq.read_table(file)
    assert table.to_pydict() == {"key": ["b", "a", "c"], "shard": ["1.tar", "0.tar", "1.tar"], "rank": [0, 1, 2]}
    pq.write_table(table.take([2, 0, 1]), file)
    assert read_selection(file) == CHOSEN
    assert CHOSEN.by_shard == {"0.tar": frozenset("a"), "1.tar": frozenset("bc")}


def test_an_empty_selection_comes_back(tmp_path: Path) -> None:
    file = str(tmp_path / "selection.parquet")
    write_selection(file, Selection("d", (), ()))
    assert read_selection(file) == Selection("d", (), (), {})


@pytest.mark.parametrize("kind", ["bytes", "columns", "metadata", "json"])
def test_other_files_are_named(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "selection.parquet"
    write_selection(str(file), CHOSEN)
    table = pq.read_table(file)
    match kind:
        case "bytes":
            file.write_bytes(file.read_bytes()[:-9])
        case "columns":
            pq.write_table(table.drop_columns(["shard"]), file)
        case "metadata":
            pq.write_table(table.replace_schema_metadata(None), file)
        case "json":
            pq.write_table(table.replace_schema_metadata({"dentgen": "[]"}), file)
    with pytest.raises(StorageError) as caught:
        read_selection(str(file))
    assert (caught.value.file, caught.value.expected) == (str(file), "a selection that 'dentgen select' wrote")


def test_a_sample_twice_is_named(tmp_path: Path) -> None:
    file = tmp_path / "selection.parquet"
    write_selection(str(file), CHOSEN)
    table = pq.read_table(file)
    pq.write_table(pa.concat_tables([table, table.slice(1, 1)]), file)
    with pytest.raises(StorageError) as caught:
        read_selection(str(file))
    assert (caught.value.file, caught.value.key) == (str(file), "a")


def test_a_selection_of_another_index_is_refused(tmp_path: Path) -> None:
    out, file = str(tmp_path / "out"), str(tmp_path / "selection.parquet")
    fake_build(tmp_path / "out", [written(0)])
    digest = index_sha256(out)
    write_selection(file, Selection(digest, ("jaw-000-v001",), ("000000.tar",)))
    assert selection_of(file, out, read_index(out)).keys == ("jaw-000-v001",)
    write_selection(file, CHOSEN)
    with pytest.raises(SpecError) as caught:
        selection_of(file, out, read_index(out))
    assert (caught.value.file, caught.value.key, caught.value.found) == (file, "index_sha256", "d" * 64)
    assert digest in caught.value.expected
    write_selection(file, Selection(digest, ("x",), ("9.tar",)))
    with pytest.raises(SpecError) as caught:
        selection_of(file, out, read_index(out))
    assert (caught.value.key, caught.value.found) == ("shard", "9.tar")
