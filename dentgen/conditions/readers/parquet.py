"""Condition records in Parquet: a column ``__key__``, a binary column per member, ``json`` as text or binary.

A damaged footer ends a file, a damaged page only its own rows. Refuses to know what members hold.
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
#: What pyarrow raises on damaged files beside its own errors.
_DAMAGE: Final = (pa.ArrowException, OSError, ValueError)

Row = dict[str, Any]


def index_parquet(shard: ConditionShard, *, with_metadata: bool) -> ShardIndex:
    """Keys and metadata of a Parquet file.

    Raises:
        StorageError: If the storage does not give the file.
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
    """Raw records of a range; only the row groups that hold it are read.

    Raises:
        ConditionError: If the file cannot be read.
        StorageError: If the storage does not give it.
    """
    for row in _rows(shard, None, wanted):
        key, problem = _key(row), row.pop("", None)
        place = f"{storage.name_of(shard.url)}: {short(key)}"
        found = {name.lower(): _bytes(value) for name, value in row.items() if name != KEY_COLUMN}
        members = {name: content for name, content in found.items() if content is not None}
        yield RawRecord(key, place, members, ConditionError(place, problem, "readable pages") if problem else None)


def _key(row: Row) -> str:
    """A row without a key has the key "", which no record may have."""
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
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the storage's, not pyarrow's
            raise ConditionError(
                shard.place, f"no readable Parquet ({_said(error)})", "a whole Parquet file"
            ) from error


def _known_columns(shard: ConditionShard, schema: pa.Schema) -> list[str]:
    """The key, the metadata and every binary column; other columns are no members, unless they are named like one."""
    if KEY_COLUMN not in schema.names:
        raise ConditionError(shard.place, f"columns {schema.names}", f"a column {KEY_COLUMN!r}")
    members = [column.name for column in schema if _is_binary(column.type)]
    strange = [column for column in schema if not _is_usable(column)]
    if strange or len({name.lower() for name in schema.names}) < len(schema.names):
        found = f"columns {[f'{column.name}: {column.type}' for column in strange or schema]}"
        raise ConditionError(shard.place, found, "one binary column per member")
    metadata = sorted(set(schema.names) & set(ConditionMetadata.model_fields))
    if metadata:
        raise ConditionError(shard.place, f"columns {metadata}", f"metadata in the JSON of column {_METADATA_COLUMN!r}")
    return [name for name in (KEY_COLUMN, _METADATA_COLUMN, *members) if name in schema.names]


def _is_usable(column: pa.Field) -> bool:
    """Whether a column is none of ours, or holds what its name says; metadata go by one name, for splits' sake."""
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
    """Rows of a group; from where members cannot be read, the keys with what is wrong under the name "".

    One at a time: a few bytes in a file can stand for a large member in each of a million rows.
    """
    read = 0
    try:
        for batch in file.iter_batches(1, row_groups=[number], columns=columns, use_threads=False):
            yield from batch.to_pylist()
            read += batch.num_rows
    except _DAMAGE as error:
        if columns == [KEY_COLUMN] or (isinstance(error, OSError) and error.errno is not None):
            raise
        rest = [KEY_COLUMN, _METADATA_COLUMN] if len(columns) > 2 and _METADATA_COLUMN in columns else [KEY_COLUMN]
        unread = {_METADATA_COLUMN: b""} if _METADATA_COLUMN in columns and len(rest) == 1 else {}
        for row in islice(_group_rows(file, number, rest), read, None):
            yield {**unread, **row, "": f"unreadable pages ({_said(error)})"}


def _said(error: BaseException) -> str:
    """What pyarrow says, on one line: thrift's errors have several, and bytes of the file in them."""
    return printable(" ".join(str(error).split()))
