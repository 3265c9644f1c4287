"""Cutting an indexed source into units: fixed ranges of each condition shard.

The unreadable rest of a shard is planned as one record, which is rejected later: planned = written + rejected.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from dentgen.conditions.readers.raw import ConditionShard, ShardIndex, short
from dentgen.documents.units import Unit
from dentgen.spec.build import BuildSpec


@dataclass(frozen=True, slots=True)
class Before:
    """What earlier segments of a plan planned.

    Attributes:
        units: Units, retired ones included: the number of the next one.
        records: Records of the units that were not retired.
        keys: Those of their keys that occur again in what is cut now.
    """

    units: int = 0
    records: int = 0
    keys: frozenset[str] = frozenset()


NOTHING: Final = Before()


def cut_units(
    shards: Sequence[ConditionShard], indexes: Sequence[ShardIndex], spec: BuildSpec, before: Before = NOTHING
) -> Iterator[Unit]:
    """Yield numbered units in order; they list the positions of duplicate keys, whose records are rejected later.

    Args:
        shards: Condition shards.
        indexes: Their indexes.
        spec: The build's spec.
        before: What earlier segments planned.
    """
    left = 2**63 if spec.source.limit is None else max(0, spec.source.limit - before.records)
    repeated = _repeated_hashes(indexes) | set(map(hash, before.keys))
    seen = set(before.keys)
    number = before.units
    for shard, index in zip(shards, indexes, strict=False):
        wanted = wanted_positions(index, spec.source.split)[:left]
        left -= len(wanted)
        for positions, repeats in _ranges(index, wanted, spec):
            suspects = [position for position in positions if hash(index.keys[position]) in repeated]
            duplicates = tuple(position for position in suspects if _seen_before(index.keys[position], seen))
            yield _unit(number, shard, index, positions, duplicates, repeats)
            number += 1
        if index.problem and left > 0:
            yield _unreadable(number, shard, index)
            number, left = number + 1, left - 1


def wanted_positions(index: ShardIndex, split: str | None) -> list[int]:
    """Positions of a split's records, and of those whose split cannot be read, which are rejected later."""
    if split is None or index.splits is None:
        return list(range(len(index.keys)))
    return [position for position, found in enumerate(index.splits) if found is None or found == split]


def _ranges(index: ShardIndex, wanted: list[int], spec: BuildSpec) -> Iterator[tuple[list[int], tuple[int, ...]]]:
    """Positions of each unit, and per-record repeat counts (empty if all are 1)."""
    limit = max(1, spec.pipeline.samples_per_shard // spec.sampling.variants)
    if not spec.source.oversample or index.attributes is None:
        yield from ((wanted[start : start + limit], ()) for start in range(0, len(wanted), limit))
        return
    repeats = {position: spec.source.repeats(json.loads(index.attributes[position])) for position in wanted}
    inside: list[int] = []
    for position in wanted:
        if inside and sum(repeats[n] for n in inside) + repeats[position] > limit:
            yield inside, tuple(repeats[n] for n in inside)
            inside = []
        inside.append(position)
    if inside:
        yield inside, tuple(repeats[n] for n in inside)


def _repeated_hashes(indexes: Sequence[ShardIndex]) -> set[int]:
    """Hashes that several keys share; all hashes take megabytes where a set of all keys would take a gigabyte."""
    found = [np.fromiter(map(hash, index.keys), np.int64, len(index.keys)) for index in indexes]
    hashes = np.concatenate(found) if found else np.zeros(0, np.int64)
    del found
    hashes.sort()
    return set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())


def _unit(
    number: int,
    shard: ConditionShard,
    index: ShardIndex,
    positions: list[int],
    duplicates: tuple[int, ...],
    repeats: tuple[int, ...],
) -> Unit:
    start, stop = positions[0], positions[-1] + 1
    first, end = (index.offsets[start], index.offsets[stop]) if index.offsets else (0, 0)
    return Unit(
        id=number,
        shard=shard.name,
        start=start,
        stop=stop,
        records=len(positions),
        duplicates=duplicates,
        repeats=repeats,
        shard_bytes=shard.size,
        shard_tag=shard.tag,
        shard_content=index.content,
        first_byte=first,
        end_byte=end,
    )


def _unreadable(number: int, shard: ConditionShard, index: ShardIndex) -> Unit:
    """The unreadable rest of a shard, as one record after the readable ones."""
    end = len(index.keys)
    return Unit(
        id=number,
        shard=shard.name,
        start=end,
        stop=end + 1,
        records=1,
        shard_bytes=shard.size,
        shard_tag=shard.tag,
        shard_content=index.content,
        problem=index.problem,
        problem_key=short(index.problem_key),
    )


def _seen_before(key: str, seen: set[str]) -> bool:
    known = key in seen
    seen.add(key)
    return known
