"""The index of a source: what every condition shard holds, read in parallel, kept beside the plan.

A shard is read again only when its size or its tag (etag, mtime) changed. Refuses to know units.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Final, overload

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dentgen import storage
from dentgen.conditions.readers.raw import ConditionShard, ShardIndex
from dentgen.conditions.readers.source import index_shard
from dentgen.errors import StorageError
from dentgen.parallel.processes import map_processes
from dentgen.shards.parquet import UNREADABLE, table_of

_THREADS: Final = 16
#: Shards that one process takes at a time; fewer are not worth the start of processes.
_CHUNK: Final = 64
#: Shards whose keys are texts of Python at a time while an index is written.
_ROW_GROUP: Final = 512
_INDEX_SCHEMA: Final = pa.schema(
    [
        ("keys", pa.list_(pa.binary())),
        ("splits", pa.list_(pa.string())),
        ("attributes", pa.list_(pa.string())),
        ("offsets", pa.list_(pa.int64())),
        ("problem", pa.string()),
        ("problem_key", pa.string()),
    ]
)
_SCHEMA: Final = pa.schema([("name", pa.string()), ("size", pa.int64()), ("tag", pa.string()), *_INDEX_SCHEMA])

#: Called with (shards indexed, shards in all).
IndexProgress = Callable[[int, int], None]
#: Name, size and tag of a shard.
Place = tuple[str, int, str]
Known = Mapping[Place, ShardIndex]


class PackedIndexes(Sequence[ShardIndex]):
    """Indexes of many shards in columns; a key is a text of Python only while it is asked for.

    Ten million keys take half a gigabyte here, and three in tuples.
    """

    def __init__(self) -> None:
        """Nothing is packed yet."""
        self._chunks: list[pa.RecordBatch] = []
        self._ends: list[int] = []

    def pack(self, indexes: Sequence[ShardIndex]) -> None:
        """Add indexes, several at a time."""
        rows = [_to_row(index) for index in indexes]
        self._chunks.append(pa.RecordBatch.from_pylist(rows, schema=_INDEX_SCHEMA))
        self._ends.append(len(self) + len(rows))

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
    """What was indexed before, still in the columns of its table."""

    def __init__(self, table: pa.Table) -> None:
        """Look up which shards are there.

        Raises:
            ValueError: If one has no keys or places.
        """
        lengths = (pc.list_value_length(table[name]).to_pylist() for name in ("keys", "offsets"))
        for keys, places in zip(*lengths, strict=True):
            if keys is None or places not in {0, keys + 1}:
                raise ValueError(f"found {keys} keys and {places} places, expected a place between any two")
        columns = (table[name].to_pylist() for name in ("name", "size", "tag"))
        self._table, self._rows = table, {place: row for row, place in enumerate(zip(*columns, strict=True))}

    def __getitem__(self, place: Place) -> ShardIndex:
        return _from_row(self._table.slice(self._rows[place], 1).to_pylist()[0])

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
        known: What is known of them from before.
        with_metadata: Read the records' splits and attributes too.
        enough: Asked after every chunk with its indexes; indexing ends when it says so.
        progress: Told after every chunk.
    """
    found = PackedIndexes()
    chunks = [shards[start : start + _CHUNK] for start in range(0, len(shards), _CHUNK)]
    missing = [
        [shard for shard in chunk if not is_known(shard, known, with_metadata=with_metadata)] for chunk in chunks
    ]
    workers = 1 if sum(map(bool, missing)) < 2 else None
    made = map_processes(partial(_index_chunk, with_metadata=with_metadata), missing, workers)
    for chunk, new, indexes in zip(chunks, missing, made, strict=True):
        fresh = dict(zip([shard.name for shard in new], indexes, strict=True))
        inside = [fresh[shard.name] if shard.name in fresh else known[place_of(shard)] for shard in chunk]
        found.pack(inside)
        if progress is not None:
            progress(len(found), len(shards))
        if enough(inside):
            break
    return found


def read_source_index(url: str) -> Known:
    """What was indexed before by shard name, size and tag; nothing if there is no index or it cannot be read.

    A bit that flipped in it would be another key or place, so its sums are asked.
    """
    try:
        data = storage.read_bytes(url)
        table = table_of(data, _SCHEMA.names, checked=True).select(_SCHEMA.names).cast(_SCHEMA)
        known = _StoredIndexes(table)
    except (StorageError, *UNREADABLE):
        return {}
    pa.default_memory_pool().release_unused()  # what reading took; pyarrow keeps it otherwise
    return known


def write_source_index(url: str, shards: Sequence[ConditionShard], indexes: Sequence[ShardIndex]) -> None:
    """Keep an index for later; what could not be read is tried again then."""
    rows = (
        {"name": shard.name, "size": shard.size, "tag": shard.tag, **_to_row(index)}
        for shard, index in zip(shards, indexes, strict=False)
        if not index.problem
    )
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, _SCHEMA, compression="zstd", write_page_checksum=True) as writer:
        while chunk := list(islice(rows, _ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist(chunk, schema=_SCHEMA))
    storage.overwrite(url, buffer.getvalue())


def place_of(shard: ConditionShard) -> Place:
    """What an index is known by."""
    return shard.name, shard.size, shard.tag


def is_known(shard: ConditionShard, known: Known, *, with_metadata: bool) -> bool:
    """Whether all that is asked of a shard was indexed before."""
    return place_of(shard) in known and (not with_metadata or known[place_of(shard)].splits is not None)


def _index_chunk(shards: Sequence[ConditionShard], *, with_metadata: bool) -> list[ShardIndex]:
    """Threads hide the storage's latency."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda shard: index_shard(shard, with_metadata=with_metadata), shards))


def _to_row(index: ShardIndex) -> dict[str, object]:
    """Keys may hold broken Unicode until they are rejected."""
    return {
        "keys": [key.encode("utf-8", "surrogateescape") for key in index.keys],
        "splits": index.splits,
        "attributes": index.attributes,
        "offsets": index.offsets,
        "problem": index.problem,
        "problem_key": index.problem_key,
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
    )
