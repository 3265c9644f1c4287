"""Units as a table: a million of them in a few megabytes, and as Parquet beside the plan.

Units stay packed, and are unpacked some thousands at a time: as columns, a million would take 0.2 GB, as Python objects
a gigabyte. Arrow checks and counts whole columns.
"""

from __future__ import annotations

import hashlib
import io
import json
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from itertools import accumulate, chain, islice
from typing import Any, Final, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dentgen.documents.units import Unit
from dentgen.shards.packed_units import CHUNK, SCHEMA, PackedUnits, packed, require_numbered
from dentgen.shards.parquet import UNREADABLE, batches_of

_ROW_GROUP: Final = 64 * CHUNK
_LISTS: Final = ("duplicates", "repeats")
_SHARD_IDENTITY: Final = ("shard_tag", "shard_content")


class UnitTable(Sequence[Unit]):
    """Units of a plan in order; each is made when it is asked for.

    Places are rows: the number of a unit is another one where units before it are missing. ``number_of`` finds it.
    """

    def __init__(self, parts: Iterable[PackedUnits] = ()) -> None:
        """Join packed units.

        Raises:
            ValueError: If they are not in order.
        """
        self._parts = tuple(parts)
        self._firsts = [part.first for part in self._parts]
        self._starts = list(accumulate((part.count for part in self._parts), initial=0))
        self._unpacked: tuple[int, pa.Table] | None = None  # the part that was looked at last
        lasts = [-1, *(part.last for part in self._parts)]
        for number, (last, first) in enumerate(zip(lasts, self._firsts, strict=False)):
            if first <= last:
                raise ValueError(f"found unit {first} after unit {last} in row {self._starts[number]}")

    @classmethod
    def of_tables(cls, tables: Iterable[pa.Table], first: int = 0) -> UnitTable:
        """Pack tables of ``SCHEMA``, one after the other.

        Args:
            tables: The units.
            first: Number of the first unit, from which they count on.

        Raises:
            ValueError: If a table has another schema, or units are numbered otherwise.
        """
        parts, row = list[PackedUnits](), 0
        for table in tables:
            require_numbered(table, first + row, row)
            parts += packed(table)
            row += table.num_rows
        return cls(parts)

    @classmethod
    def joined(cls, tables: Iterable[UnitTable], without: Iterable[int] = ()) -> UnitTable:
        """The units of several tables in order, but for those with some numbers."""
        parts = chain.from_iterable(table.parts for table in tables)
        dropped = np.unique(np.fromiter(without, np.int64))
        return cls(chain.from_iterable(part.selected(dropped, keep=False) for part in parts))

    @classmethod
    def of(cls, units: Iterable[Unit], first: int = 0) -> UnitTable:
        """Collect units, at most a few thousand of them as objects at a time."""
        remaining = iter(units)
        chunks = iter(lambda: list(islice(remaining, CHUNK)), [])
        rows = ([asdict(unit) for unit in chunk] for chunk in chunks)
        return cls.of_tables((pa.Table.from_pylist(some, schema=SCHEMA) for some in rows), first)

    @classmethod
    def from_parquet(cls, content: bytes, first: int = 0) -> UnitTable:
        """Read what ``to_parquet`` wrote.

        Raises:
            ValueError: If it is no such file.
        """
        try:
            return cls.of_tables((table.replace_schema_metadata(None) for table in batches_of(content, CHUNK)), first)
        except UNREADABLE as error:
            raise ValueError(f"no readable Parquet: {error}") from error

    def to_parquet(self) -> bytes:
        """The table as a Parquet file; equal tables give equal bytes with one version of pyarrow."""
        buffer = io.BytesIO()
        with pq.ParquetWriter(buffer, SCHEMA, compression="zstd") as writer:
            for start in range(0, max(1, len(self)), _ROW_GROUP):
                writer.write_table(self._window(start, _ROW_GROUP).combine_chunks(), row_group_size=_ROW_GROUP)
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
        part = bisect_right(self._starts, place) - 1
        return unit_of(self._table(part).slice(place - self._starts[part], 1).to_pylist()[0])

    def __iter__(self) -> Iterator[Unit]:
        """Units in order."""
        return (unit_of(row) for table in self._tables() for row in table.to_pylist())

    def __len__(self) -> int:
        """Number of units."""
        return self._starts[-1]

    def __eq__(self, other: object) -> bool:
        """Whether two tables hold the same units."""
        return isinstance(other, UnitTable) and self._equals(other, SCHEMA.names)

    def __hash__(self) -> int:
        """Of the size alone: tables are compared, not looked up."""
        return len(self)

    def same_units(self, other: UnitTable) -> bool:
        """Whether two tables hold the same units; a shard's tag may differ where its content is the same."""
        return self._equals(other, [name for name in SCHEMA.names if name != "shard_tag"])

    def digest(self) -> str:
        """sha256 of the units, but for what identifies the shards they lie in: it is the same from any copy."""
        digest = hashlib.sha256()
        for unit in self:
            row = {name: value for name, value in asdict(unit).items() if name not in _SHARD_IDENTITY}
            digest.update(json.dumps(row, sort_keys=True).encode())
        return digest.hexdigest()

    def samples(self, variants: int) -> int:
        """Samples planned in all, at ``variants`` per record."""
        return variants * sum(part.samples() for part in self._parts)

    @property
    def parts(self) -> tuple[PackedUnits, ...]:
        """The units as they are kept."""
        return self._parts

    @property
    def ids(self) -> NDArray[np.int64]:
        """Numbers of the units, in order: an array of all of them."""
        return np.concatenate([np.zeros(0, np.int64), *(part.numbers() for part in self._parts)])

    def numbers(self) -> Iterator[int]:
        """Numbers of the units, in order."""
        return chain.from_iterable(part.numbers().tolist() for part in self._parts)

    @property
    def last(self) -> int:
        """Number of the last unit, -1 without any."""
        return self._parts[-1].last if self._parts else -1

    @property
    def records(self) -> int:
        """Records that the units use."""
        return sum(part.records for part in self._parts)

    def number_of(self, unit: int) -> int | None:
        """Row of a unit, None if it is not here."""
        number = bisect_right(self._firsts, unit) - 1
        if number < 0 or unit > (part := self._parts[number]).last:
            return None
        row = unit - part.first
        if not part.is_dense:
            found = self._table(number)["id"].to_numpy()
            row = int(np.searchsorted(found, unit))
            if found[row] != unit:
                return None
        return self._starts[number] + row

    def find(self, unit: int) -> Unit:
        """A unit by its number.

        Raises:
            KeyError: If it is not here.
        """
        row = self.number_of(unit)
        if row is None:
            raise KeyError(unit)
        return self[row]

    def only(self, units: Iterable[int]) -> UnitTable:
        """Those with some numbers; numbers that are not here are passed over."""
        kept = np.unique(np.fromiter(units, np.int64))
        return UnitTable(chain.from_iterable(part.selected(kept, keep=True) for part in self._parts))

    def select(self, units: NDArray[np.int64]) -> list[Unit]:
        """Units by their numbers, in order; numbers that are not here are passed over."""
        return list(self.only(units))

    def between(self, first: int, stop: int) -> UnitTable:
        """Units from one number up to another one."""
        begin, end = max(0, bisect_right(self._firsts, first) - 1), bisect_left(self._firsts, stop)
        return UnitTable(chain.from_iterable(part.between(first, stop) for part in self._parts[begin:end]))

    def planned_until(self) -> dict[str, int]:
        """By condition shard, one past the last position that a unit covers."""
        return self._most("stop")

    def shard_sizes(self) -> dict[str, int]:
        """Bytes of every condition shard."""
        return self._most("shard_bytes")

    def duplicates_by_shard(self) -> dict[str, set[int]]:
        """By condition shard, positions of records that are rejected because an earlier one has their key."""
        found: dict[str, set[int]] = {}
        for table in self._tables():
            rows = table.select(["shard", "duplicates"])
            rows = rows.filter(pc.greater(pc.list_value_length(rows["duplicates"]), 0))
            for shard, positions in zip(rows["shard"].to_pylist(), rows["duplicates"].to_pylist(), strict=True):
                found.setdefault(shard, set()).update(positions)
        return found

    def numbers_by_shard(self, shards: Iterable[str]) -> dict[str, list[int]]:
        """Numbers of the units over each of some condition shards; shards without any are left out."""
        wanted = pa.array(list(shards), pa.string())
        found: dict[str, list[int]] = {}
        for table in self._tables() if len(wanted) else ():
            rows = table.filter(pc.is_in(table["shard"], value_set=wanted))
            for unit, shard in zip(rows["id"].to_pylist(), rows["shard"].to_pylist(), strict=True):
                found.setdefault(shard, []).append(unit)
        return found

    def _most(self, column: str) -> dict[str, int]:
        """By condition shard, the largest value of a column."""
        found: dict[str, int] = {}
        for table in self._tables():
            rows = table.group_by("shard", use_threads=False).aggregate([(column, "max")])
            for shard, value in zip(rows["shard"].to_pylist(), rows[f"{column}_max"].to_pylist(), strict=True):
                found[shard] = max(value, found.get(shard, value))
        return found

    def _equals(self, other: UnitTable, columns: Collection[str]) -> bool:
        if len(self) != len(other):
            return False
        pairs = ((self._window(row, CHUNK), other._window(row, CHUNK)) for row in range(0, len(self), CHUNK))
        return all(one.select(columns).equals(another.select(columns)) for one, another in pairs)

    def _tables(self) -> Iterator[pa.Table]:
        return (part.table() for part in self._parts)

    def _window(self, start: int, count: int) -> pa.Table:
        """Rows as columns, fewer where the table ends."""
        first, found = max(0, bisect_right(self._starts, start) - 1), [SCHEMA.empty_table()]
        for part in range(first, len(self._parts)):
            if self._starts[part] >= start + count:
                break
            begin = max(0, start - self._starts[part])
            found.append(self._table(part).slice(begin, start + count - self._starts[part] - begin))
        return pa.concat_tables(found)

    def _table(self, part: int) -> pa.Table:
        """The units of a part; who asks for one unit after the other does not unpack them every time."""
        unpacked = self._unpacked
        if unpacked is None or unpacked[0] != part:
            unpacked = self._unpacked = part, self._parts[part].table()
        return unpacked[1]


def unit_of(row: dict[str, Any]) -> Unit:
    """A unit from plain values, such as a row of the table or JSON."""
    return Unit(**{**row, **{name: tuple(row[name]) for name in _LISTS}})


assert [field.name for field in fields(Unit)] == SCHEMA.names
