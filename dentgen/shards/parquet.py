"""Parquet bytes to tables. Refuses to know what they hold."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq


def table_of(data: bytes, *, columns: Sequence[str] | None = None, schema: pa.Schema | None = None) -> pa.Table:
    """The table in the bytes of a Parquet file.

    Without threads of pyarrow's: where these read a Python object, a process that ends soon afterwards is aborted now
    and then ("terminate called without an active exception").

    Args:
        data: The file.
        columns: Columns to read; None reads all.
        schema: Schema to read them as; None takes the file's.

    Raises:
        pyarrow.ArrowException: If it is no such file.
    """
    wanted = None if columns is None else list(columns)
    return pq.read_table(pa.BufferReader(data), columns=wanted, schema=schema, use_threads=False, pre_buffer=False)
