"""Tables from bytes: the columns asked for, checked pages, and no threads that could abort the process at its end."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dentgen.shards.parquet import UNREADABLE, table_of
from tests.conftest import ROOT

#: In a process of its own, where pyarrow has started no thread yet.
SCRIPT = """
import sys
from pathlib import Path
import psutil
from dentgen.shards.parquet import table_of
data, before = Path(sys.argv[1]).read_bytes(), psutil.Process().num_threads()
print(table_of(data, ["key"]).num_rows, psutil.Process().num_threads() - before)
"""


def parquet(**options: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"key": ["a", "b"], "size": [1, 2]}), buffer, compression="none", **options)
    return buffer.getvalue()


def test_reading_starts_no_thread(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    columns = {"key": [str(n) for n in range(80)], **{f"column {n}": list(range(80)) for n in range(20)}}
    pq.write_table(pa.table(columns), path)
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["80", "0"]


def test_columns_are_chosen_by_name() -> None:
    assert table_of(parquet()).to_pydict() == {"key": ["a", "b"], "size": [1, 2]}
    assert table_of(parquet(), ["size"]).to_pydict() == {"size": [1, 2]}


def test_a_missing_column_is_an_error_that_names_it() -> None:
    with pytest.raises(pa.ArrowInvalid, match="shape"):
        table_of(parquet(), ["key", "shape"])


@pytest.mark.parametrize("data", [b"", b"PAR1", parquet()[:-4], parquet()[4:]])
def test_bytes_that_are_no_parquet_raise_what_is_listed(data: bytes) -> None:
    with pytest.raises(UNREADABLE):
        table_of(data)


def test_a_flipped_bit_in_a_page_is_found_where_pages_are_checked() -> None:
    data = bytearray(parquet(write_page_checksum=True, use_dictionary=False))
    place = data.index(b"\1\0\0\0a") + 4
    data[place] ^= 2
    assert table_of(bytes(data))["key"].to_pylist() == ["c", "b"]
    with pytest.raises(UNREADABLE):
        table_of(bytes(data), checked=True)
