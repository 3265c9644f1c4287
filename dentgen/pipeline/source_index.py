"""The index of a source: what every condition shard holds, read in parallel, kept beside the plan.

A shard is read again only when its size or its tag (etag, mtime) changed. Refuses to know units.
"""

from __future__ import annotations

import io
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from dentgen import storage
from dentgen.conditions.raw import ConditionShard, ShardIndex
from dentgen.conditions.sources import index_shard
from dentgen.errors import StorageError
from dentgen.shards.parquet import UNREADABLE, table_of

_THREADS: Final = 16
#: Shards that one process takes at a time; fewer are not worth the start of processes.
_CHUNK: Final = 64
_SCHEMA: Final = pa.schema(
    [
        ("name", pa.string()),
        ("size", pa.int64()),
        ("tag", pa.string()),
        ("keys", pa.list_(pa.binary())),
        ("splits", pa.list_(pa.string())),
        ("offsets", pa.list_(pa.int64())),
        ("problem", pa.string()),
        ("problem_key", pa.string()),
    ]
)

#: Called with (shards indexed, shards in all).
IndexProgress = Callable[[int, int], None]
Known = dict[tuple[str, int, str], ShardIndex]


def index_source(
    shards: Sequence[ConditionShard],
    known: Known,
    *,
    with_splits: bool,
    enough: Callable[[list[ShardIndex]], bool] = lambda _: False,
    progress: IndexProgress | None = None,
) -> list[ShardIndex]:
    """Index shards in order.

    Args:
        shards: The shards of a source.
        known: What is known of them from before.
        with_splits: Read the records' splits too.
        enough: Asked after every chunk; indexing ends when it says so.
        progress: Told after every chunk.
    """
    found: list[ShardIndex] = []
    chunks = [shards[start : start + _CHUNK] for start in range(0, len(shards), _CHUNK)]
    before = [[_known(shard, known, with_splits=with_splits) for shard in chunk] for chunk in chunks]
    missing = [
        [shard for shard, index in zip(chunk, indexes, strict=True) if index is None]
        for chunk, indexes in zip(chunks, before, strict=True)
    ]
    for indexes, new in zip(before, _map(partial(_index_chunk, with_splits=with_splits), missing), strict=True):
        fresh = iter(new)
        found += [index if index is not None else next(fresh) for index in indexes]
        if progress is not None:
            progress(len(found), len(shards))
        if enough(found):
            break
    return found


def read_source_index(url: str) -> Known:
    """What was indexed before by shard name, size and tag; nothing if there is no index or it cannot be read.

    A bit that flipped in it would be another key or place, so its sums are asked.
    """
    try:
        data = storage.read_bytes(url)
        table = table_of(data, _SCHEMA.names, checked=True).select(_SCHEMA.names).cast(_SCHEMA)
        return {(row["name"], row["size"], row["tag"]): _from_row(row) for row in table.to_pylist()}
    except (StorageError, *UNREADABLE):
        return {}


def write_source_index(url: str, shards: Sequence[ConditionShard], indexes: Sequence[ShardIndex]) -> None:
    """Keep an index for later; what could not be read is tried again then."""
    rows = [
        {"name": shard.name, "size": shard.size, "tag": shard.tag, **asdict(index), "keys": _to_bytes(index.keys)}
        for shard, index in zip(shards, indexes, strict=False)
        if not index.problem
    ]
    buffer = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    storage.put_latest(url, buffer.getvalue())


def _known(shard: ConditionShard, known: Known, *, with_splits: bool) -> ShardIndex | None:
    before = known.get((shard.name, shard.size, shard.tag))
    return before if before is not None and (before.splits is not None or not with_splits) else None


def _map(
    index: Callable[[Sequence[ConditionShard]], list[ShardIndex]], chunks: list[list[ConditionShard]]
) -> Iterator[list[ShardIndex]]:
    """Chunks over processes, because walking archives is Python's own work; a single chunk stays here."""
    busy = sum(1 for chunk in chunks if chunk)
    if busy < 2:
        yield from map(index, chunks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(busy, os.cpu_count() or 1), mp_context=context) as pool:
        pending = [pool.submit(index, chunk) for chunk in chunks]
        try:
            for future in pending:
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _index_chunk(shards: Sequence[ConditionShard], *, with_splits: bool) -> list[ShardIndex]:
    """Threads hide the storage's latency."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda shard: index_shard(shard, with_splits=with_splits), shards))


def _to_bytes(keys: Sequence[str]) -> list[bytes]:
    """Keys may hold broken Unicode until they are rejected."""
    return [key.encode("utf-8", "surrogateescape") for key in keys]


def _from_row(row: dict[str, object]) -> ShardIndex:
    """A row of the index.

    Raises:
        ValueError: If it has no keys or places.
    """
    keys, splits, offsets = row["keys"], row["splits"], row["offsets"]
    if not isinstance(keys, list) or not isinstance(offsets, list) or len(offsets) not in {0, len(keys) + 1}:
        raise ValueError(f"found {row}, expected keys and a place between any two")
    return ShardIndex(
        keys=tuple(key.decode("utf-8", "surrogateescape") for key in keys),
        splits=tuple(splits) if isinstance(splits, list) else None,
        offsets=tuple(offsets),
        problem=str(row["problem"]),
        problem_key=str(row["problem_key"]),
    )
