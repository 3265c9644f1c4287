"""Consecutive units of a plan, packed: their columns as a compressed stream of Arrow's, a few bytes a unit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

#: Units that are packed together, and hence unpacked together: about a megabyte.
CHUNK: Final = 4096
_POSITIONS: Final = pa.list_(pa.int64())
SCHEMA: Final = pa.schema(
    [
        ("id", pa.int64()),
        ("shard", pa.string()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("records", pa.int64()),
        ("shard_bytes", pa.int64()),
        ("duplicates", _POSITIONS),
        ("repeats", _POSITIONS),
        ("first_byte", pa.int64()),
        ("end_byte", pa.int64()),
        ("problem", pa.string()),
        ("problem_key", pa.string()),
        ("shard_tag", pa.string()),
        ("shard_content", pa.string()),
    ]
)
_COMPRESSED: Final = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
_UNTHREADED: Final = pa.ipc.IpcReadOptions(use_threads=False)


@dataclass(frozen=True, slots=True)
class PackedUnits:
    """At least one unit.

    Attributes:
        content: The packed columns of ``SCHEMA``.
        count: Number of units.
        first, last: Numbers of the first and of the last unit.
        records: Records that they use.
    """

    content: bytes
    count: int
    first: int
    last: int
    records: int

    @classmethod
    def of(cls, table: pa.Table) -> PackedUnits:
        """Pack the rows of a table of ``SCHEMA``, which has at least one and is in order."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, SCHEMA, options=_COMPRESSED) as writer:
            writer.write_table(table.combine_chunks())
        first, last = table["id"][0].as_py(), table["id"][-1].as_py()
        records = pc.sum(table["records"]).as_py()
        return cls(sink.getvalue().to_pybytes(), table.num_rows, first, last, records)

    def table(self) -> pa.Table:
        """The units as columns; whoever needs them again unpacks them again."""
        return pa.ipc.open_stream(self.content, options=_UNTHREADED).read_all()

    @property
    def is_dense(self) -> bool:
        """Whether no number is missing between the first and the last one."""
        return self.last - self.first + 1 == self.count

    def numbers(self) -> NDArray[np.int64]:
        """Numbers of the units, in order."""
        if self.is_dense:
            return np.arange(self.first, self.last + 1)
        found: NDArray[np.int64] = self.table()["id"].to_numpy()
        return found

    def selected(self, units: NDArray[np.int64], *, keep: bool) -> Iterator[PackedUnits]:
        """The units with some numbers, which are in order, or all but those; nothing if no unit is left."""
        begin, end = np.searchsorted(units, [self.first, self.last + 1])
        if begin == end:
            yield from () if keep else (self,)
            return
        named = np.isin(self.numbers(), units[begin:end])
        yield from packed(self.table().filter(pa.array(named if keep else ~named)))

    def between(self, first: int, stop: int) -> Iterator[PackedUnits]:
        """The units from one number up to another one."""
        if first <= self.first and self.last < stop:
            yield self
            return
        begin, end = np.searchsorted(self.numbers(), [first, stop])
        yield from packed(self.table().slice(int(begin), int(end - begin)))

    def samples(self) -> int:
        """Samples planned, at one variant per record."""
        table = self.table()
        once = pc.equal(pc.list_value_length(table["repeats"]), 0)
        repeated = pc.sum(pc.list_flatten(table["repeats"])).as_py() or 0
        return int(repeated + (pc.sum(table["records"].filter(once)).as_py() or 0))


def packed(table: pa.Table) -> Iterator[PackedUnits]:
    """The rows of a table of ``SCHEMA``, ``CHUNK`` of them at a time."""
    for start in range(0, table.num_rows, CHUNK):
        yield PackedUnits.of(table.slice(start, CHUNK))


def require_numbered(table: pa.Table, first: int, row: int = 0) -> None:
    """Check units that count on from a number.

    Args:
        table: The units.
        first: Number of the first of them.
        row: Its row, for messages.

    Raises:
        ValueError: If the table has another schema or nulls, or units are numbered otherwise or empty.
    """
    if not table.schema.equals(SCHEMA):
        raise ValueError(f"found columns {table.schema.names}, expected {SCHEMA.names}")
    if nulls := [name for name in SCHEMA.names if table[name].null_count]:
        raise ValueError(f"found nulls in {nulls}")
    numbers, start, stop = (table[name].to_numpy() for name in ("id", "start", "stop"))
    is_wrong = (numbers != np.arange(first, first + len(numbers))) | (start >= stop)
    for wrong in np.flatnonzero(is_wrong)[:1]:
        raise ValueError(
            f"found unit {numbers[wrong]} with records {start[wrong]} to {stop[wrong]} in row {row + wrong}"
        )
