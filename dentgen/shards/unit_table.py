"""Units as a table: a million of them in memory, and as Parquet beside the plan."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from itertools import islice
from typing import Any, Final, overload

import pyarrow as pa
import pyarrow.parquet as pq

from dentgen.documents import Unit
from dentgen.shards.parquet import UNREADABLE, table_of

_CHUNK: Final = 4096
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
_LISTS: Final = ("duplicates", "repeats")
_SHARD_IDENTITY: Final = ("shard_tag", "shard_content")


class UnitTable(Sequence[Unit]):
    """Units of a plan in order; each is made when it is asked for."""

    def __init__(self, table: pa.Table) -> None:
        """Wrap a table of ``SCHEMA``.

        Raises:
            ValueError: If the table has another schema, or units are not numbered from 0 in order.
        """
        if not table.schema.equals(SCHEMA):
            raise ValueError(f"found columns {table.schema.names}, expected {SCHEMA.names}")
        self._table = table.combine_chunks()
        if nulls := [name for name in SCHEMA.names if table[name].null_count]:
            raise ValueError(f"found nulls in {nulls}")
        columns = [table[name].to_pylist() for name in ("id", "start", "stop")]
        for number, (unit, start, stop) in enumerate(zip(*columns, strict=True)):
            if unit != number or start is None or stop is None or start >= stop:
                raise ValueError(f"found unit {unit} with records {start} to {stop} in row {number}")

    @classmethod
    def of(cls, units: Iterable[Unit]) -> UnitTable:
        """Collect units, at most a few thousand of them as objects at a time."""
        remaining, batches = iter(units), []
        while chunk := list(islice(remaining, _CHUNK)):
            batches.append(pa.RecordBatch.from_pylist([asdict(unit) for unit in chunk], schema=SCHEMA))
        return cls(pa.Table.from_batches(batches, schema=SCHEMA))

    @classmethod
    def from_parquet(cls, content: bytes) -> UnitTable:
        """Read what ``to_parquet`` wrote.

        Raises:
            ValueError: If it is no such file.
        """
        try:
            return cls(table_of(content).replace_schema_metadata(None))
        except UNREADABLE as error:
            raise ValueError(f"no readable Parquet: {error}") from error

    def to_parquet(self) -> bytes:
        """The table as a Parquet file; equal tables give equal bytes with one version of pyarrow."""
        buffer = io.BytesIO()
        pq.write_table(self._table, buffer, compression="zstd", row_group_size=64 * _CHUNK)
        return buffer.getvalue()

    @overload
    def __getitem__(self, place: int) -> Unit: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Unit]: ...
    def __getitem__(self, place: int | slice) -> Unit | Sequence[Unit]:
        """One unit, or a list of units."""
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        if place < 0:
            place += len(self)
        if not 0 <= place < len(self):
            raise IndexError(place)
        return next(self._rows(place, 1))

    def __iter__(self) -> Iterator[Unit]:
        """Units in order."""
        for start in range(0, len(self), _CHUNK):
            yield from self._rows(start, _CHUNK)

    def __len__(self) -> int:
        """Number of units."""
        return int(self._table.num_rows)

    def __eq__(self, other: object) -> bool:
        """Whether two tables hold the same units."""
        return isinstance(other, UnitTable) and bool(self._table.equals(other._table))

    def __hash__(self) -> int:
        """Of the size alone: tables are compared, not looked up."""
        return len(self)

    def same_units(self, other: UnitTable) -> bool:
        """Whether two tables hold the same units; a shard's tag may differ where its content is the same."""
        theirs = other._table.drop_columns(["shard_tag"])
        return bool(self._table.drop_columns(["shard_tag"]).equals(theirs))

    def digest(self) -> str:
        """sha256 of the units, but for what identifies the shards they lie in: it is the same from any copy."""
        digest = hashlib.sha256()
        for unit in self:
            row = {name: value for name, value in asdict(unit).items() if name not in _SHARD_IDENTITY}
            digest.update(json.dumps(row, sort_keys=True).encode())
        return digest.hexdigest()

    def samples(self, variants: int) -> int:
        """Samples planned in all, at ``variants`` per record."""
        repeated = (sum(repeats) if repeats else records for repeats, records in self._repeats())
        return variants * sum(repeated)

    def _repeats(self) -> Iterator[tuple[list[int], int]]:
        for start in range(0, len(self), _CHUNK):
            part = self._table.slice(start, _CHUNK)
            yield from zip(part["repeats"].to_pylist(), part["records"].to_pylist(), strict=True)

    def _rows(self, start: int, count: int) -> Iterator[Unit]:
        for row in self._table.slice(start, count).to_pylist():
            yield unit_of(row)


def unit_of(row: dict[str, Any]) -> Unit:
    """A unit from plain values, such as a row of the table or JSON."""
    return Unit(**{**row, **{name: tuple(row[name]) for name in _LISTS}})


assert [field.name for field in fields(Unit)] == SCHEMA.names
