"""Parquet bytes to Arrow tables, without threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

#: What pyarrow raises on bytes that are no Parquet file: its own errors, and thrift's as OSError and ValueError.
UNREADABLE: Final = (pa.ArrowException, OSError, ValueError)


def table_of(data: bytes, columns: Sequence[str] | None = None, *, checked: bool = False) -> pa.Table:
    """The table in the bytes of a Parquet file.

    Without a thread of pyarrow's, which ``read_table`` starts whatever it is told: a process that ends soon after one
    has read is aborted now and then ("terminate called without an active exception").

    Args:
        data: The file.
        columns: Columns to read; None reads all.
        checked: Hold pages against the checksums that they were written with, if they were.

    Raises:
        pyarrow.ArrowException: If it is no such file, or lacks a column; OSError and ValueError mean the same.
    """
    file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=checked)
    table = file.read(None if columns is None else list(columns), use_threads=False)
    missing = sorted({*(columns or ())} - {*table.column_names})
    if missing:
        raise pa.ArrowInvalid(f"found columns {table.column_names}, expected {missing} too")
    return table


def batches_of(data: bytes, rows: int) -> Iterator[pa.Table]:
    """The rows of a Parquet file, some at a time, without threads; first none of them, which tells its columns.

    Args:
        data: The file.
        rows: Most rows at a time.

    Raises:
        pyarrow.ArrowException: As ``table_of``.
    """
    file = pq.ParquetFile(pa.BufferReader(data))
    yield file.schema_arrow.empty_table()
    for batch in file.iter_batches(rows, use_threads=False):
        yield pa.Table.from_batches([batch])
