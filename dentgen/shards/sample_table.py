"""Stream the table of samples, ``samples.parquet``.

Batches have a fixed number of rows, so memory does not grow with the number of samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dentgen import storage
from dentgen.errors import StorageError
from dentgen.shards.layout import SAMPLES
from dentgen.shards.parquet import UNREADABLE

#: Rows per batch.
BATCH_ROWS: Final = 65536
#: Bytes of a column that are read at once; without it, pyarrow reads a row group's whole column.
_BUFFER_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """Consecutive rows of the table, by status."""

    written: pa.RecordBatch
    rejected: pa.RecordBatch


def stream_samples(out: str, columns: Sequence[str]) -> Iterator[SampleBatch]:
    """Read the table of samples in its order.

    Args:
        out: The build.
        columns: Columns to read.

    Yields:
        At most ``BATCH_ROWS`` rows with these columns.

    Raises:
        StorageError: If the table cannot be read or lacks a column.
    """
    url = storage.join(out, SAMPLES)
    with storage.open_read(url) as handle:
        try:
            table = pq.ParquetFile(handle, buffer_size=_BUFFER_BYTES)
            _require_columns(url, table, columns)
            for batch in table.iter_batches(BATCH_ROWS, columns=["status", *columns], use_threads=False):
                is_written = pc.equal(batch["status"], "written")
                yield SampleBatch(batch.filter(is_written), batch.filter(pc.invert(is_written)))
        except UNREADABLE as error:
            raise StorageError(
                file=storage.without_secrets(url), found=str(error), expected="a whole Parquet file"
            ) from error


def column_names(out: str) -> frozenset[str]:
    """Columns that the table of samples has; one that an earlier dentgen wrote lacks some.

    Raises:
        StorageError: If the table cannot be read.
    """
    url = storage.join(out, SAMPLES)
    with storage.open_read(url) as handle:
        try:
            return frozenset(pq.ParquetFile(handle).schema_arrow.names)
        except UNREADABLE as error:
            raise StorageError(
                file=storage.without_secrets(url), found=str(error), expected="a whole Parquet file"
            ) from error


def rejected_reasons(out: str) -> Iterator[tuple[str, int]]:
    """Reasons of rejected samples with their numbers; a reason may come again from a later part of the table.

    Raises:
        StorageError: As ``stream_samples``.
    """
    for batch in stream_samples(out, ["reason"]):
        yield from ((reason or "", count) for reason, count in value_counts(batch.rejected["reason"]).items())


def value_counts(column: Any) -> dict[Any, int]:
    """Distinct values of an Arrow array with their number of rows."""
    counts = pc.value_counts(column)
    return dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))


def distinct_pairs(first: Any, second: Any) -> list[tuple[str, str]]:
    """Distinct pairs of texts in two Arrow arrays of strings, sorted; null counts as empty."""
    table = pa.table({"first": pc.fill_null(first, ""), "second": pc.fill_null(second, "")})
    pairs = table.group_by(["first", "second"], use_threads=False).aggregate([])
    return sorted(zip(pairs["first"].to_pylist(), pairs["second"].to_pylist(), strict=True))


def _require_columns(url: str, table: pq.ParquetFile, columns: Sequence[str]) -> None:
    present = table.schema_arrow.names
    if missing := sorted({"status", *columns}.difference(present)):
        raise StorageError(
            file=storage.without_secrets(url),
            found=f"columns {', '.join(present)}",
            expected=f"columns {', '.join(missing)} too",
        )
