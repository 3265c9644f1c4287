"""Condition records in Parquet: a column ``__key__``, a binary column per member, ``json`` as text or binary.

Refuses to know what members hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from dentgen import storage
from dentgen.conditions.metadata import split_of
from dentgen.conditions.raw import ConditionShard, RawRecord, RecordRange, ShardIndex, printable
from dentgen.errors import ConditionError

KEY_COLUMN: Final = "__key__"
_METADATA_COLUMN: Final = "json"


def index_parquet(shard: ConditionShard, *, with_splits: bool) -> ShardIndex:
    """Keys and splits of a Parquet file.

    Raises:
        StorageError: If the storage does not give the file.
    """
    try:
        rows = list(_rows(shard, [KEY_COLUMN, *([_METADATA_COLUMN] if with_splits else [])], 0, None))
    except ConditionError as error:
        return ShardIndex((), () if with_splits else None, problem=str(error))
    keys = tuple(str(row[KEY_COLUMN]) for row in rows)
    splits = tuple(split_of(_bytes(row.get(_METADATA_COLUMN))) for row in rows) if with_splits else None
    problem = "" if keys else str(ConditionError(shard.url, "no record", "at least one"))
    return ShardIndex(keys, splits, problem=problem)


def read_parquet(shard: ConditionShard, wanted: RecordRange) -> Iterator[RawRecord]:
    """Raw records of a range; only the row groups that hold it are read.

    Raises:
        ConditionError: If the file cannot be read.
        StorageError: If the storage does not give it.
    """
    for row in _rows(shard, None, wanted.start, wanted.stop):
        key = str(row.pop(KEY_COLUMN))
        found = {name.lower(): _bytes(value) for name, value in row.items()}
        members = {name: content for name, content in found.items() if content is not None}
        yield RawRecord(key, f"{storage.name_of(shard.url)}: {printable(key)}", members)


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _rows(shard: ConditionShard, columns: list[str] | None, start: int, stop: int | None) -> Iterator[dict[str, Any]]:
    """Rows ``start`` to ``stop``; columns that are neither binary nor the key or the metadata are no members."""
    with storage.open_read(shard.url) as handle:
        try:
            file = pq.ParquetFile(handle)
            schema = file.schema_arrow
            if KEY_COLUMN not in schema.names:
                raise ConditionError(shard.url, f"columns {schema.names}", f"a column {KEY_COLUMN!r}")
            members = [f.name for f in schema if pa.types.is_binary(f.type) or pa.types.is_large_binary(f.type)]
            known = [name for name in (KEY_COLUMN, _METADATA_COLUMN, *members) if name in schema.names]
            chosen = sorted(set(known) & set(columns if columns is not None else known))
            yield from _row_groups(file, chosen, start, stop)
        except pa.ArrowException as error:
            raise ConditionError(shard.url, f"no readable Parquet ({error})", "a whole Parquet file") from error


def _row_groups(file: pq.ParquetFile, columns: list[str], start: int, stop: int | None) -> Iterator[dict[str, Any]]:
    first = 0
    for number in range(file.num_row_groups):
        rows = file.metadata.row_group(number).num_rows
        low, high = max(start - first, 0), rows if stop is None else min(stop - first, rows)
        if low < high:
            yield from file.read_row_group(number, columns=columns).slice(low, high - low).to_pylist()
        first += rows
