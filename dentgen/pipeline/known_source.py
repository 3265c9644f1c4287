"""The condition shards that a build knows: those that its plan's segments were cut from, and the keys in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from dentgen import storage
from dentgen.conditions.readers.raw import ConditionShard, ShardIndex
from dentgen.errors import StorageError
from dentgen.pipeline.source_index import moved_places, read_index_table, read_indexed_shards, write_source_index
from dentgen.shards import layout
from dentgen.shards.ledger_table import segments_of
from dentgen.shards.parquet import UNREADABLE
from dentgen.shards.plan import Plan
from dentgen.shards.unit_table import UnitTable

_THREADS: Final = 8
#: Segments that are read ahead of whoever looks at them.
_AHEAD: Final = 16
_PLACES: Final = ("name", "size", "tag", "content", "problem")
_KEYS: Final = ("name", "keys", "splits")
#: Size of a shard that is no more: a row that says that its units were retired.
GONE: Final = -1


@dataclass(frozen=True, slots=True)
class KnownShard:
    """A condition shard as it was when it was planned.

    Attributes:
        segment: The plan segment that it was cut for, the newest one of several.
        size: Bytes.
        tag: Etag or mtime.
        content: What identifies its content, "" for unknown.
        problem: Why it could not be read to its end, "" if it could.
    """

    segment: int
    size: int
    tag: str
    content: str
    problem: str = ""


def known_shards(out: str, plan: Plan) -> dict[str, KnownShard]:
    """Condition shards by name, as the newest segment that was cut from them found them.

    Where a segment's index of the source is lost, its units tell of those shards that gave any.

    Args:
        out: The build.
        plan: Its plan.
    """
    known: dict[str, KnownShard] = {}
    for (segment, units), table in zip(segments_of(plan), _tables(out, plan, _PLACES), strict=True):
        rows = _of_units(segment, units) if table is None else _of_table(segment, table)
        known |= rows
        for name in [name for name, shard in rows.items() if shard.size == GONE]:
            del known[name]
    return known


def lost_indexes(out: str, plan: Plan) -> list[int]:
    """Segments whose index of the source is missing or damaged."""
    return [segment for segment, table in enumerate(_tables(out, plan, _PLACES)) if table is None]


def taken_keys(out: str, plan: Plan, indexes: Sequence[ShardIndex], split: str | None) -> frozenset[str]:
    """Keys of new records that records of the plan have already.

    Segments are looked through one at a time, in columns: memory does not grow with the build.

    Args:
        out: The build.
        plan: Its plan, without units that are to be retired.
        indexes: The new shards.
        split: The split that the build uses, None for all.

    Raises:
        StorageError: If a segment's index of the source is lost: then nobody knows its keys.
    """
    keys = {key.encode("utf-8", "surrogateescape") for index in indexes for key in index.keys}
    wanted = pa.array(list(keys), pa.binary())
    found: set[bytes] = set()
    for (segment, units), table in zip(segments_of(plan), _tables(out, plan, _KEYS), strict=True):
        if table is None:
            raise StorageError(
                file=storage.without_secrets(storage.join(out, layout.source_index(segment))),
                found="no readable index of the source", expected="the keys of the records that were planned",
                advice=f"'dentgen repair {storage.without_secrets(out)}' makes it again",
            )  # fmt: skip
        found.update(_taken(table, units, wanted, split))
    return frozenset(key.decode("utf-8", "surrogateescape") for key in found)


def note_copies(out: str, plan: Plan, copies: Iterable[ConditionShard], known: Mapping[str, KnownShard]) -> None:
    """Store the size and tag that copied or touched shards have now, so that the next run need not read them."""
    by_segment: dict[int, list[ConditionShard]] = {}
    for shard in copies:
        by_segment.setdefault(known[shard.name].segment, []).append(shard)
    for segment, shards in by_segment.items():
        url = storage.join(out, layout.source_index(segment))
        table = _table_or_none(out, segment)
        if table is not None:
            moved = moved_places(table, {shard.name: (shard.size, shard.tag) for shard in shards})
            write_source_index(url, (), (), moved)


def note_shards(out: str, plan: Plan, shards: Sequence[ConditionShard], indexes: Sequence[ShardIndex]) -> None:
    """Store the indexes of shards without a unit as the last ones of the newest segment, in place of what it has.

    Raises:
        StorageError: If the segment's index is missing.
    """
    url = storage.join(out, layout.source_index(plan.segment))
    table = read_index_table(url)
    names = pa.array([shard.name for shard in shards], pa.string())
    others = table.filter(pc.invert(pc.is_in(table["name"], value_set=names)))
    write_source_index(url, shards, indexes, others)


def _tables(out: str, plan: Plan, columns: Sequence[str]) -> Iterator[pa.Table | None]:
    """The stored index of every segment, None for one that cannot be read; a few are read ahead."""
    segments = range(plan.segment + 1)
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(segments), _AHEAD):
            yield from pool.map(partial(_table_or_none, out, columns=columns), segments[start : start + _AHEAD])


def _table_or_none(out: str, segment: int, columns: Sequence[str] | None = None) -> pa.Table | None:
    url = storage.join(out, layout.source_index(segment))
    try:
        return read_index_table(url) if columns is None else read_index_table(url, columns)
    except (StorageError, *UNREADABLE):
        return None


def _of_table(segment: int, table: pa.Table) -> dict[str, KnownShard]:
    columns = [table[name].to_pylist() for name in _PLACES]
    return {name: KnownShard(segment, *rest) for name, *rest in zip(*columns, strict=True)}


def _of_units(segment: int, units: UnitTable) -> dict[str, KnownShard]:
    found = (units[number] for number in range(len(units)))
    return {u.shard: KnownShard(segment, u.shard_bytes, u.shard_tag, u.shard_content, u.problem) for u in found}


def _taken(table: pa.Table, units: UnitTable, wanted: pa.Array, split: str | None) -> list[bytes]:
    """Keys of a table's shards that are wanted and that a unit has; a rejected duplicate takes no key."""
    planned_until, duplicates = units.planned_until(), units.duplicates_by_shard()
    names = table["name"].combine_chunks()
    keys = table["keys"].combine_chunks()
    flat, shard = pc.list_flatten(keys), pc.list_parent_indices(keys)
    rows = pc.indices_nonzero(pc.is_in(flat, value_set=wanted)).to_pylist()
    starts = keys.offsets.to_pylist() if rows else []
    found = []
    for row in rows:
        number = shard[row].as_py()
        position = row - (starts[number] - starts[0])
        name = names[number].as_py()
        covered = position < planned_until.get(name, 0) and position not in duplicates.get(name, ())
        if covered and _is_of_split(table, number, position, split):
            found.append(flat[row].as_py())
    return found


def _is_of_split(table: pa.Table, number: int, position: int, split: str | None) -> bool:
    splits = table["splits"][number]
    return split is None or not splits.is_valid or splits[position].as_py() in {None, split}


def segment_source(out: str, segment: int) -> tuple[list[ConditionShard], Sequence[ShardIndex]]:
    """Condition shards that a segment was cut from, in order, and their indexes; their URLs and kinds are not known.

    Raises:
        StorageError: If the segment's index of the source is missing or damaged.
    """
    places, indexes = read_indexed_shards(storage.join(out, layout.source_index(segment)))
    kept = [number for number, (_, size, _) in enumerate(places) if size != GONE]
    shards = [ConditionShard(name, "", "tar", size, tag) for name, size, tag in (places[number] for number in kept)]
    return shards, [indexes[number] for number in kept] if len(kept) < len(places) else indexes


def gone_rows(names: Iterable[str]) -> tuple[list[ConditionShard], list[ShardIndex]]:
    """Rows that say that shards are no more, for ``write_source_index``."""
    shards = [ConditionShard(name, "", "tar", GONE, "") for name in names]
    return shards, [ShardIndex((), None) for _ in shards]
