"""Units as a table: a million of them in memory, and as Parquet beside the plan.

Whole columns are checked and counted by Arrow: as Python objects, a million units would take a gigabyte.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from itertools import islice
from typing import Any, Final, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

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
    """Units of a plan in order; each is made when it is asked for.

    Places are rows: the number of a unit is another one where units before it are missing. ``number_of`` finds it.
    """

    def __init__(self, table: pa.Table, first: int | None = 0) -> None:
        """Wrap a table of ``SCHEMA``.

        Args:
            table: The units.
            first: Number of the first unit, from which they count on; None: they only have to be in order.

        Raises:
            ValueError: If the table has another schema, or units are numbered otherwise.
        """
        if not table.schema.equals(SCHEMA):
            raise ValueError(f"found columns {table.schema.names}, expected {SCHEMA.names}")
        self._table = table
        if nulls := [name for name in SCHEMA.names if table[name].null_count]:
            raise ValueError(f"found nulls in {nulls}")
        self._ids = table["id"].to_numpy()
        start, stop = table["start"].to_numpy(), table["stop"].to_numpy()
        is_wrong = start >= stop
        if first is None:
            is_wrong[1:] |= np.diff(self._ids) <= 0
        else:
            is_wrong |= self._ids != np.arange(first, first + len(self._ids))
        for row in np.flatnonzero(is_wrong)[:1]:
            raise ValueError(f"found unit {self._ids[row]} with records {start[row]} to {stop[row]} in row {row}")

    @classmethod
    def joined(cls, tables: Iterable[UnitTable], without: Iterable[int] = ()) -> UnitTable:
        """The units of several tables in order, but for those with some numbers; nothing is copied needlessly."""
        table = pa.concat_tables([SCHEMA.empty_table(), *(part.table for part in tables)])
        dropped = pa.array(list(without), pa.int64())
        if len(dropped):
            table = table.filter(pc.invert(pc.is_in(table["id"], value_set=dropped)))
        return cls(table, None)

    @classmethod
    def of(cls, units: Iterable[Unit], first: int = 0) -> UnitTable:
        """Collect units, at most a few thousand of them as objects at a time."""
        remaining, batches = iter(units), []
        while chunk := list(islice(remaining, _CHUNK)):
            batches.append(pa.RecordBatch.from_pylist([asdict(unit) for unit in chunk], schema=SCHEMA))
        return cls(pa.Table.from_batches(batches, schema=SCHEMA), first)

    @classmethod
    def from_parquet(cls, content: bytes, first: int = 0) -> UnitTable:
        """Read what ``to_parquet`` wrote.

        Raises:
            ValueError: If it is no such file.
        """
        try:
            return cls(table_of(content).replace_schema_metadata(None), first)
        except UNREADABLE as error:
            raise ValueError(f"no readable Parquet: {error}") from error

    def to_parquet(self) -> bytes:
        """The table as a Parquet file; equal tables give equal bytes with one version of pyarrow."""
        buffer = io.BytesIO()
        table = self._table.combine_chunks()
        pq.write_table(table, buffer, compression="zstd", row_group_size=64 * _CHUNK)
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
        once = pc.equal(pc.list_value_length(self._table["repeats"]), 0)
        repeated = pc.sum(pc.list_flatten(self._table["repeats"])).as_py() or 0
        return variants * (repeated + (pc.sum(self._table["records"].filter(once)).as_py() or 0))

    @property
    def table(self) -> pa.Table:
        """The units as columns of ``SCHEMA``."""
        return self._table

    @property
    def ids(self) -> NDArray[np.int64]:
        """Numbers of the units, in order."""
        return self._ids

    @property
    def records(self) -> int:
        """Records that the units use."""
        return int(pc.sum(self._table["records"]).as_py() or 0)

    def number_of(self, unit: int) -> int | None:
        """Row of a unit, None if it is not here."""
        row = int(np.searchsorted(self._ids, unit))
        return row if row < len(self) and self._ids[row] == unit else None

    def find(self, unit: int) -> Unit:
        """A unit by its number.

        Raises:
            KeyError: If it is not here.
        """
        row = self.number_of(unit)
        if row is None:
            raise KeyError(unit)
        return self[row]

    def select(self, units: NDArray[np.int64]) -> list[Unit]:
        """Units by their numbers, in order; numbers that are not here are passed over."""
        found = self._table.filter(pa.array(np.isin(self._ids, units)))
        return [unit_of(row) for row in found.to_pylist()]

    def between(self, first: int, stop: int) -> UnitTable:
        """Units from one number up to another one."""
        begin, end = np.searchsorted(self._ids, [first, stop])
        return UnitTable(self._table.slice(int(begin), int(end - begin)), None)

    def planned_until(self) -> dict[str, int]:
        """By condition shard, one past the last position that a unit covers."""
        rows = self._table.group_by("shard", use_threads=False).aggregate([("stop", "max")])
        return dict(zip(rows["shard"].to_pylist(), rows["stop_max"].to_pylist(), strict=True))

    def shard_sizes(self) -> dict[str, int]:
        """Bytes of every condition shard."""
        rows = self._table.group_by("shard", use_threads=False).aggregate([("shard_bytes", "max")])
        return dict(zip(rows["shard"].to_pylist(), rows["shard_bytes_max"].to_pylist(), strict=True))

    def duplicates_by_shard(self) -> dict[str, set[int]]:
        """By condition shard, positions of records that are rejected because an earlier one has their key."""
        found: dict[str, set[int]] = {}
        rows = self._table.select(["shard", "duplicates"])
        rows = rows.filter(pc.greater(pc.list_value_length(rows["duplicates"]), 0))
        for shard, positions in zip(rows["shard"].to_pylist(), rows["duplicates"].to_pylist(), strict=True):
            found.setdefault(shard, set()).update(positions)
        return found

    def numbers_by_shard(self, shards: Iterable[str]) -> dict[str, list[int]]:
        """Numbers of the units over each of some condition shards; shards without any are left out."""
        found: dict[str, list[int]] = {}
        rows = self._table.select(["id", "shard"])
        rows = rows.filter(pc.is_in(rows["shard"], value_set=pa.array(list(shards), pa.string())))
        for unit, shard in zip(rows["id"].to_pylist(), rows["shard"].to_pylist(), strict=True):
            found.setdefault(shard, []).append(unit)
        return found

    def _rows(self, start: int, count: int) -> Iterator[Unit]:
        for row in self._table.slice(start, count).to_pylist():
            yield unit_of(row)


def unit_of(row: dict[str, Any]) -> Unit:
    """A unit from plain values, such as a row of the table or JSON."""
    return Unit(**{**row, **{name: tuple(row[name]) for name in _LISTS}})


assert [field.name for field in fields(Unit)] == SCHEMA.names
