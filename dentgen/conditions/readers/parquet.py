"""Condition records in Parquet files: a column ``__key__``, one binary column per member, ``json`` as text or binary.

A damaged footer makes the whole file unreadable, a damaged page only the rows of its row group from there on.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from dentgen import storage
from dentgen.conditions.decode import KNOWN_MEMBERS
from dentgen.conditions.metadata import split_and_attributes
from dentgen.conditions.readers.raw import (
    EVERYTHING,
    ConditionShard,
    RawRecord,
    RecordRange,
    ShardIndex,
    printable,
    short,
)
from dentgen.documents import ConditionMetadata
from dentgen.errors import ConditionError

KEY_COLUMN: Final = "__key__"
_METADATA_COLUMN: Final = "json"
#: What pyarrow raises on damaged files.
_DAMAGE_ERRORS: Final = (pa.ArrowException, OSError, ValueError)

Row = dict[str, Any]


def index_parquet(shard: ConditionShard, *, with_metadata: bool) -> ShardIndex:
    """Index the records of a Parquet file.

    Args:
        shard: A shard of kind ``parquet``.
        with_metadata: Also read the records' splits and attributes.

    Raises:
        StorageError: If the storage fails.
    """
    columns = [KEY_COLUMN, *([_METADATA_COLUMN] if with_metadata else [])]
    keys: list[str] = []
    named: list[tuple[str | None, str]] = []
    try:
        for row in _rows(shard, columns, EVERYTHING):
            keys.append(_key(row))
            named += [split_and_attributes(_bytes(row.get(_METADATA_COLUMN)))] if with_metadata else []
    except ConditionError as error:
        return ShardIndex.of((), () if with_metadata else None, problem=str(error))
    problem = "" if keys else str(ConditionError(shard.place, "no record", "at least one"))
    return ShardIndex.of(keys, named if with_metadata else None, problem=problem)


def read_parquet(shard: ConditionShard, wanted: RecordRange) -> Iterator[RawRecord]:
    """Read the records of a range, from the row groups that contain it.

    Args:
        shard: A shard of kind ``parquet``.
        wanted: Row numbers.

    Raises:
        ConditionError: If the file is damaged or has other columns than expected.
        StorageError: If the storage fails.
    """
    for row in _rows(shard, None, wanted):
        key, problem = _key(row), row.pop("", None)
        place = f"{storage.name_of(shard.url)}: {short(key)}"
        found = {name.lower(): _bytes(value) for name, value in row.items() if name != KEY_COLUMN}
        members = {name: content for name, content in found.items() if content is not None}
        yield RawRecord(key, place, members, ConditionError(place, problem, "readable pages") if problem else None)


def _key(row: Row) -> str:
    """Key of a row; "" if it is null, so that the record is rejected."""
    key = row[KEY_COLUMN]
    return key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else str(key if key is not None else "")


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _rows(shard: ConditionShard, columns: list[str] | None, wanted: RecordRange) -> Iterator[Row]:
    with storage.open_read(shard.url) as handle:
        try:
            file = pq.ParquetFile(handle, page_checksum_verification=True)
            known = _known_columns(shard, file.schema_arrow)
            chosen = sorted(set(known) & set(columns if columns is not None else known))
            yield from _row_groups(file, chosen, wanted)
        except _DAMAGE_ERRORS as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # from the storage, not from pyarrow
            found = f"an unreadable Parquet file ({_on_one_line(error)})"
            raise ConditionError(shard.place, found, "a complete Parquet file") from error


def _known_columns(shard: ConditionShard, schema: pa.Schema) -> list[str]:
    """Names of the key, metadata and binary columns; other columns are ignored, unless named like a member."""
    if KEY_COLUMN not in schema.names:
        raise ConditionError(shard.place, f"columns {schema.names}", f"a column {KEY_COLUMN!r}")
    members = [column.name for column in schema if _is_binary(column.type)]
    unusable = [column for column in schema if not _is_usable(column)]
    if unusable or len({name.lower() for name in schema.names}) < len(schema.names):
        found = f"columns {[f'{column.name}: {column.type}' for column in unusable or schema]}"
        raise ConditionError(shard.place, found, "one binary column per member")
    metadata = sorted(set(schema.names) & set(ConditionMetadata.model_fields))
    if metadata:
        raise ConditionError(shard.place, f"columns {metadata}", f"metadata as JSON in the column {_METADATA_COLUMN!r}")
    return [name for name in (KEY_COLUMN, _METADATA_COLUMN, *members) if name in schema.names]


def _is_usable(column: pa.Field) -> bool:
    """Whether a column has the type that its name implies, or is not a member at all.

    The metadata column must be spelled exactly: under another spelling its splits would be lost silently.
    """
    name = column.name.lower()
    if name == _METADATA_COLUMN:
        return column.name == name and (_is_binary(column.type) or _is_text(column.type))
    return name not in KNOWN_MEMBERS or _is_binary(column.type)


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _is_binary(kind: pa.DataType) -> bool:
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    return any(test(kind) for test in tests)


def _row_groups(file: pq.ParquetFile, columns: list[str], wanted: RecordRange) -> Iterator[Row]:
    first = 0
    for number in range(file.num_row_groups):
        rows = file.metadata.row_group(number).num_rows
        low, high = max(wanted.start - first, 0), min(wanted.stop - first, rows)
        if low < high:
            yield from islice(_group_rows(file, number, columns), low, high)
        first += rows


def _group_rows(file: pq.ParquetFile, number: int, columns: list[str]) -> Iterator[Row]:
    """Read the rows of a group; from a damaged page on, only their keys, with the problem under the name "".

    One row at a time: dictionary encoding can expand a few bytes on disk to a large member in each of a million rows.
    """
    read = 0
    try:
        for batch in file.iter_batches(1, row_groups=[number], columns=columns, use_threads=False):
            yield from batch.to_pylist()
            read += batch.num_rows
    except _DAMAGE_ERRORS as error:
        if columns == [KEY_COLUMN] or (isinstance(error, OSError) and error.errno is not None):
            raise
        # retry with fewer columns: the keys and, unless that was tried already, the metadata for their splits
        fewer = [KEY_COLUMN, _METADATA_COLUMN] if len(columns) > 2 and _METADATA_COLUMN in columns else [KEY_COLUMN]
        unread = {_METADATA_COLUMN: b""} if _METADATA_COLUMN in columns and len(fewer) == 1 else {}
        for row in islice(_group_rows(file, number, fewer), read, None):
            yield {**unread, **row, "": f"unreadable pages ({_on_one_line(error)})"}


def _on_one_line(error: BaseException) -> str:
    """Printable text of an error: Thrift's have several lines and quote bytes of the file."""
    return printable(" ".join(str(error).split()))
