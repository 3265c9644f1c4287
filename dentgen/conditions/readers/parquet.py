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
    MAX_MEMBER_BYTES,
    ConditionShard,
    RawRecord,
    RecordRange,
    ShardIndex,
    bounded_key,
    printable,
    short,
)
from dentgen.documents.conditions import ConditionMetadata
from dentgen.errors import ConditionError

KEY_COLUMN: Final = "__key__"
_METADATA_COLUMN: Final = "json"
#: What pyarrow raises on damaged files.
_DAMAGE_ERRORS: Final = (pa.ArrowException, OSError, ValueError)
#: Images hardly shrink; a column that shrinks more than this, and is large, is a decompression bomb.
_MAX_EXPANSION: Final = 100

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
            named += [split_and_attributes(row.get(_METADATA_COLUMN))] if with_metadata else []
    except ConditionError as error:
        return ShardIndex.of((), () if with_metadata else None, problem=str(error))
    return ShardIndex.of(keys, named if with_metadata else None)  # Spark writes parts without a row


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
        record = RawRecord(key, place, problem=ConditionError(place, problem, "readable pages") if problem else None)
        for name, content in row.items():
            if name != KEY_COLUMN and content is not None:
                record.members[name.lower()] = content
            if content is not None and name != KEY_COLUMN and len(content) > MAX_MEMBER_BYTES:
                record.members[name.lower()] = b""
                found, expected = f"{len(content)} bytes", f"at most {MAX_MEMBER_BYTES} bytes"
                record.problem = ConditionError(f"{place}.{short(name.lower())}", found, expected)
        yield record


def _key(row: Row) -> str:
    """Key of a row; "" if it is null, so that the record is rejected."""
    key = row[KEY_COLUMN]
    if isinstance(key, bytes):
        return bounded_key(key.decode("utf-8", "surrogateescape"))
    return str(key if key is not None else "")


def _rows(shard: ConditionShard, columns: list[str] | None, wanted: RecordRange) -> Iterator[Row]:
    with storage.open_read(shard.url) as handle:
        try:
            file = pq.ParquetFile(handle, page_checksum_verification=True)
            known = _known_columns(shard, file.schema_arrow)
            chosen = sorted(set(known) & set(columns if columns is not None else known))
            yield from _row_groups(shard, file, chosen, wanted)
        except _DAMAGE_ERRORS as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # from the storage, not from pyarrow
            found = f"an unreadable Parquet file ({_on_one_line(error)})"
            raise ConditionError(shard.place, found, "a complete Parquet file") from error


def _known_columns(shard: ConditionShard, schema: pa.Schema) -> list[str]:
    """Names of the key, metadata and binary columns; other columns are ignored, unless named like a member."""
    if KEY_COLUMN not in schema.names:
        raise ConditionError(shard.place, f"columns {[*map(short, schema.names)][:20]}", f"a column {KEY_COLUMN!r}")
    kind = schema.field(schema.names.index(KEY_COLUMN)).type
    if not (_is_text(kind) or _is_binary(kind) or pa.types.is_integer(kind)):
        raise ConditionError(shard.place, f"a column {KEY_COLUMN!r} of type {short(str(kind))}", "keys as text")
    members = [column.name for column in schema if _is_binary(column.type)]
    unusable = [column for column in schema if not _is_usable(column)]
    if unusable or len({name.lower() for name in schema.names}) < len(schema.names):
        found = f"columns {[short(f'{column.name}: {column.type}') for column in unusable or schema][:20]}"
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


def _row_groups(shard: ConditionShard, file: pq.ParquetFile, columns: list[str], wanted: RecordRange) -> Iterator[Row]:
    first = 0
    for number in range(file.num_row_groups):
        rows = file.metadata.row_group(number).num_rows
        low, high = max(wanted.start - first, 0), min(wanted.stop - first, rows)
        if low < high:
            read = 0
            for row in islice(_group_rows(file, number, columns), low, high):
                yield row
                read += 1
            if read < high - low:
                raise ConditionError(
                    shard.place, f"{low + read} rows in row group {number}", f"{rows}, as its footer says"
                )
        first += rows


def _group_rows(file: pq.ParquetFile, number: int, columns: list[str]) -> Iterator[Row]:
    """Read the rows of a group; from a damaged page on, only their keys, with the problem under the name "".

    One row at a time: dictionary encoding can expand a few bytes on disk to a large member in each of a million rows.
    """
    read = 0
    try:
        for batch in file.iter_batches(1, row_groups=[number], columns=_safe(file, number, columns), use_threads=False):
            yield from pa.RecordBatch.from_arrays([*map(_as_bytes, batch.columns)], batch.schema.names).to_pylist()
            read += batch.num_rows
    except _DAMAGE_ERRORS as error:
        if columns == [KEY_COLUMN] or (isinstance(error, OSError) and error.errno is not None):
            raise
        # retry with fewer columns: the keys and, unless that was tried already, the metadata for their splits
        fewer = [KEY_COLUMN, _METADATA_COLUMN] if len(columns) > 2 and _METADATA_COLUMN in columns else [KEY_COLUMN]
        unread = {_METADATA_COLUMN: b""} if _METADATA_COLUMN in columns and len(fewer) == 1 else {}
        for row in islice(_group_rows(file, number, fewer), read, None):
            yield {**unread, **row, "": f"unreadable pages ({_on_one_line(error)})"}


def _safe(file: pq.ParquetFile, number: int, columns: list[str]) -> list[str]:
    """The columns, unless one would expand to gigabytes: pyarrow decompresses a page as a whole.

    Raises:
        ValueError: If keys or metadata, which planning reads, are too large, or another column is a decompression bomb.
    """
    group = file.metadata.row_group(number)
    for column in map(group.column, range(group.num_columns)):
        size = column.total_uncompressed_size
        planned = column.path_in_schema in {KEY_COLUMN, _METADATA_COLUMN}
        is_bomb = planned or size > _MAX_EXPANSION * max(column.total_compressed_size, 1)
        if column.path_in_schema in columns and size > MAX_MEMBER_BYTES and is_bomb:
            limit = (
                f"{size} bytes of {short(column.path_in_schema)} in a row group, at most {MAX_MEMBER_BYTES} are read"
            )
            raise ValueError(limit)
    return columns


def _as_bytes(column: pa.Array) -> pa.Array:
    """Text as its bytes, which need not be valid UTF-8; other columns as they are."""
    if not _is_text(column.type):
        return column
    return (column.dictionary_decode() if pa.types.is_dictionary(column.type) else column).cast(pa.large_binary())


def _on_one_line(error: BaseException) -> str:
    """Printable text of an error: Thrift's have several lines and quote bytes of the file."""
    return printable(" ".join(str(error)[:1000].split()))[:1000]
