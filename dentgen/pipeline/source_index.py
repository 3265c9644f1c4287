"""The index of a source: the records of every condition shard, read in parallel and cached beside the plan.

A shard is read again only if its size or its tag (etag or mtime) has changed, or if it could not be read to its end.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Final, overload

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dentgen import storage
from dentgen.conditions.readers.raw import ConditionShard, ShardIndex
from dentgen.conditions.readers.source import index_shard
from dentgen.conditions.shard_content import shard_content
from dentgen.errors import RefusedFileError, StorageError
from dentgen.parallel.processes import map_processes
from dentgen.shards.parquet import UNREADABLE, table_of

_THREADS: Final = 16
#: Shards per task of a process pool; fewer do not pay for starting processes.
_CHUNK: Final = 64
#: Shards per row group: their keys are Python strings while the group is written.
_ROW_GROUP: Final = 512
_INDEX_SCHEMA: Final = pa.schema(
    [
        ("keys", pa.list_(pa.binary())),
        ("splits", pa.list_(pa.string())),
        ("attributes", pa.list_(pa.string())),
        ("offsets", pa.list_(pa.int64())),
        ("problem", pa.string()),
        ("problem_key", pa.string()),
        ("content", pa.string()),
    ]
)
_SCHEMA: Final = pa.schema([("name", pa.string()), ("size", pa.int64()), ("tag", pa.string()), *_INDEX_SCHEMA])

#: Called with (shards indexed, shards in all).
IndexProgress = Callable[[int, int], None]
#: Name, size and tag of a shard: what its cached index is valid for.
Place = tuple[str, int, str]
Known = Mapping[Place, ShardIndex]


class PackedIndexes(Sequence[ShardIndex]):
    """Indexes of many shards in columns; keys become Python strings only when accessed.

    Ten million keys take half a gigabyte here, three gigabytes as tuples of strings.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._chunks: list[pa.RecordBatch] = []
        self._ends: list[int] = []

    @classmethod
    def of(cls, table: pa.Table) -> PackedIndexes:
        """The indexes in a stored table, in its order."""
        packed = cls()
        for batch in table.select(_INDEX_SCHEMA.names).to_batches():
            packed._append(batch)
        return packed

    def pack(self, indexes: Sequence[ShardIndex]) -> None:
        """Append indexes."""
        self._append(pa.RecordBatch.from_pylist([_to_row(index) for index in indexes], schema=_INDEX_SCHEMA))

    def _append(self, batch: pa.RecordBatch) -> None:
        self._chunks.append(batch)
        self._ends.append(len(self) + batch.num_rows)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, number: int) -> ShardIndex: ...
    @overload
    def __getitem__(self, number: slice) -> list[ShardIndex]: ...
    def __getitem__(self, number: int | slice) -> ShardIndex | list[ShardIndex]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        chunk = bisect_right(self._ends, number)
        row = self._chunks[chunk].slice(number - (self._ends[chunk] - self._chunks[chunk].num_rows), 1)
        return _from_row(row.to_pylist()[0])


class _StoredIndexes(Known):
    """An earlier index, still in the columns of its table."""

    def __init__(self, table: pa.Table) -> None:
        """Note which shards are there.

        Raises:
            ValueError: If a shard has no keys, or others than its offsets, splits and attributes.
        """
        lengths = (pc.list_value_length(table[name]).to_pylist() for name in ("keys", "offsets"))
        for keys, offsets in zip(*lengths, strict=True):
            if keys is None or offsets not in {0, keys + 1}:
                raise ValueError(f"found {offsets} offsets for {keys} keys, expected none or one more than keys")
        for name in ("keys", "offsets", "attributes"):
            if any(chunk.flatten().null_count for chunk in table[name].chunks):
                raise ValueError(f"found nulls in {name}")
        for name in ("splits", "attributes"):
            lengths = (pc.list_value_length(table[column]).to_pylist() for column in (name, "keys"))
            if any(found not in {None, keys} for found, keys in zip(*lengths, strict=True)):
                raise ValueError(f"found other numbers of {name} than of keys")
        columns = (table[name].to_pylist() for name in ("name", "size", "tag"))
        self._table, self._rows = table, {place: row for row, place in enumerate(zip(*columns, strict=True))}

    def __getitem__(self, place: Place) -> ShardIndex:
        return _from_row(self._table.slice(self._rows[place], 1).to_pylist()[0])

    def __contains__(self, place: object) -> bool:
        return place in self._rows

    def __iter__(self) -> Iterator[Place]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def index_source(
    shards: Sequence[ConditionShard],
    known: Known,
    *,
    with_metadata: bool,
    enough: Callable[[Sequence[ShardIndex]], bool] = lambda _: False,
    progress: IndexProgress | None = None,
) -> PackedIndexes:
    """Index shards in order.

    Args:
        shards: The shards of a source.
        known: Cached indexes.
        with_metadata: Read the splits and attributes of records as well.
        enough: Called after every chunk with its indexes; True ends indexing.
        progress: Called after every chunk.
    """
    packed = PackedIndexes()
    chunks = [shards[start : start + _CHUNK] for start in range(0, len(shards), _CHUNK)]
    missing = [
        [shard for shard in chunk if not is_known(shard, known, with_metadata=with_metadata)] for chunk in chunks
    ]
    workers = 1 if sum(map(bool, missing)) < 2 else None
    indexed = map_processes(partial(_index_chunk, with_metadata=with_metadata), missing, workers)
    for chunk, new, indexes in zip(chunks, missing, indexed, strict=True):
        fresh = dict(zip([shard.name for shard in new], indexes, strict=True))
        inside = [fresh[shard.name] if shard.name in fresh else known[place_of(shard)] for shard in chunk]
        packed.pack(inside)
        if progress is not None:
            progress(len(packed), len(shards))
        if enough(inside):
            break
    return packed


def read_source_index(url: str) -> Known:
    """Cached indexes by shard name, size and tag; empty if there are none or the file cannot be read.

    Shards that could not be read to their end are left out, so that the next plan tries them again.
    """
    try:
        table = read_index_table(url)
        known = _StoredIndexes(table.filter(pc.equal(table["problem"], "")))
    except (StorageError, *UNREADABLE):
        return {}
    pa.default_memory_pool().release_unused()  # pyarrow keeps the memory of reading otherwise
    return known


def read_indexed_shards(url: str) -> tuple[list[Place], Sequence[ShardIndex]]:
    """Every shard that a plan was cut from, in order, and its index.

    Raises:
        StorageError: If the file is missing or damaged.
    """
    try:
        table = read_index_table(url)
        stored = _StoredIndexes(table)
    except UNREADABLE as error:
        raise StorageError(f"cannot be read: {error}", file=storage.without_secrets(url)) from error
    return list(stored), PackedIndexes.of(table)


def read_index_table(url: str, columns: Sequence[str] = tuple(_SCHEMA.names)) -> pa.Table:
    """The stored table; page checksums are verified, because a flipped bit would give another key or offset.

    Raises:
        StorageError: If there is none; pyarrow's errors (``UNREADABLE``) if it is damaged.
    """
    schema = pa.schema([_SCHEMA.field(name) for name in columns])
    return table_of(storage.read_bytes(url), columns, checked=True).select(list(columns)).cast(schema)


def write_source_index(
    url: str, shards: Sequence[ConditionShard], indexes: Sequence[ShardIndex], before: pa.Table | None = None
) -> None:
    """Store the indexes of shards, in order.

    Args:
        url: The file.
        shards: Shards.
        indexes: Their indexes; fewer where not all were needed.
        before: A stored table whose rows come first.
    """
    rows = (
        {"name": shard.name, "size": shard.size, "tag": shard.tag, **_to_row(index)}
        for shard, index in zip(shards, indexes, strict=False)
    )
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, _SCHEMA, compression="zstd", write_page_checksum=True) as writer:
        if before is not None:
            writer.write_table(before, _ROW_GROUP)
        while chunk := list(islice(rows, _ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist(chunk, schema=_SCHEMA))
    storage.overwrite(url, buffer.getvalue())


def moved_places(table: pa.Table, places: Mapping[str, tuple[int, str]]) -> pa.Table:
    """A stored table in which shards, by name, have another size and tag."""
    rows = zip(*(table[name].to_pylist() for name in ("name", "size", "tag")), strict=True)
    changed = [places.get(name, (size, tag)) for name, size, tag in rows]
    for column, name in enumerate(("size", "tag")):
        field = table.schema.field(name)
        values = pa.array([place[column] for place in changed], field.type)
        table = table.set_column(table.schema.get_field_index(name), field, values)
    return table


def place_of(shard: ConditionShard) -> Place:
    """What a cached index is valid for."""
    return shard.name, shard.size, shard.tag


def is_known(shard: ConditionShard, known: Known, *, with_metadata: bool) -> bool:
    """Whether a cached index of a shard has everything that is needed."""
    return place_of(shard) in known and (not with_metadata or known[place_of(shard)].splits is not None)


def _index_chunk(shards: Sequence[ConditionShard], *, with_metadata: bool) -> list[ShardIndex]:
    """Index shards in threads, which hide the latency of the storage."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda shard: _index_one(shard, with_metadata=with_metadata), shards))


def _index_one(shard: ConditionShard, *, with_metadata: bool) -> ShardIndex:
    index = index_shard(shard, with_metadata=with_metadata)
    with suppress(RefusedFileError):  # then it has a problem, and no content that could be compared
        return replace(index, content=shard_content(shard))
    return index


def _to_row(index: ShardIndex) -> dict[str, object]:
    """One row of the table; keys are bytes, because rejected ones may not be valid Unicode."""
    return {
        "keys": [key.encode("utf-8", "surrogateescape") for key in index.keys],
        "splits": index.splits,
        "attributes": index.attributes,
        "offsets": index.offsets,
        "problem": index.problem,
        "problem_key": index.problem_key,
        "content": index.content,
    }


def _from_row(row: dict[str, object]) -> ShardIndex:
    keys, splits, attributes, offsets = row["keys"], row["splits"], row["attributes"], row["offsets"]
    assert isinstance(keys, list)
    assert isinstance(offsets, list)
    return ShardIndex(
        keys=tuple(key.decode("utf-8", "surrogateescape") for key in keys),
        splits=tuple(splits) if isinstance(splits, list) else None,
        attributes=tuple(attributes) if isinstance(attributes, list) else None,
        offsets=tuple(offsets),
        problem=str(row["problem"]),
        problem_key=str(row["problem_key"]),
        content=str(row["content"]),
    )
