"""Cutting a stored plan segment from its source once more, to check it, or to replace a lost index of its source."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace

from dentgen import storage
from dentgen.conditions.readers.raw import ConditionShard, ShardIndex
from dentgen.conditions.readers.source import list_shards
from dentgen.errors import ConditionError, StorageError
from dentgen.pipeline.known_source import gone_rows, known_shards, segment_source, taken_keys
from dentgen.pipeline.plan import enough_records, needs_metadata
from dentgen.pipeline.source_index import Place, index_source, place_of, write_source_index
from dentgen.pipeline.units import NOTHING, Before, cut_units
from dentgen.shards import layout
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import PlanSegment, join_segments, read_segment
from dentgen.shards.unit_table import UnitTable
from dentgen.spec.build import BuildSpec

_LOG = logging.getLogger(__name__)


def before_next(out: str, plan: Plan, retires: Iterable[int], indexes: Sequence[ShardIndex], spec: BuildSpec) -> Before:
    """What a plan says to the segment that continues it and retires some of its units.

    Raises:
        StorageError: If the keys of the plan are not known.
    """
    kept = UnitTable.joined([plan.units], retires)
    keys = taken_keys(out, replace(plan, units=kept), indexes, spec.source.split)
    return Before(plan.total_units, kept.records, keys)


def indexed_units(out: str, plan: Plan, segments: Sequence[PlanSegment]) -> UnitTable:
    """The units of a segment, cut from the stored index of its source.

    Args:
        out: The build.
        plan: Its plan.
        segments: Its segments up to the one that is wanted.

    Raises:
        StorageError: If the index is missing or damaged; many other errors, if nobody of dentgen wrote it.
    """
    shards, indexes = segment_source(out, segments[-1].head.segment)
    return _units(out, plan, segments, shards, indexes)


def index_again(out: str, plan: Plan, lost: Sequence[int], source: str) -> None:
    """Index the sources of segments anew, as far as they are at hand and still give the units of the plan.

    Plan, indexes and source are looked through once, however many segments are lost.

    Args:
        out: The build.
        plan: Its plan.
        lost: Numbers of the segments whose index is lost, in order.
        source: Where the condition shards are now.
    """
    if not lost:
        return
    known = known_shards(out, plan)  # of the lost segments only those that gave units
    segments = [read_segment(out, number) for number in range(max(lost) + 1)]
    try:
        listed = list_shards(source, plan.spec.source.format)
        unknown = {shard.name for shard in listed} - known.keys()  # of a lost segment without a unit, or new
        indexed: dict[Place, ShardIndex] = {}
        for number in lost:
            own = {name for name, shard in known.items() if shard.segment == number}
            unknown -= _index_segment(out, plan, segments[: number + 1], listed, own, unknown, indexed)
    except (ConditionError, StorageError) as error:
        _LOG.warning("the source cannot be indexed again: %s", error)


def _index_segment(
    out: str,
    plan: Plan,
    segments: Sequence[PlanSegment],
    listed: Sequence[ConditionShard],
    own: Set[str],
    unknown: Set[str],
    indexed: dict[Place, ShardIndex],
) -> set[str]:
    """Index the source of the last of some segments anew; returns the names of the shards that are its own then.

    Unknown shards are tried with every lost segment, and read for the first one.
    """
    for names in (own | unknown, own):
        shards = [shard for shard in listed if shard.name in names]
        indexes = index_source(
            shards,
            indexed,
            with_metadata=needs_metadata(plan.spec),
            enough=enough_records(_limit(plan), plan.spec.source.split),
        )
        if _units(out, plan, segments, shards, indexes).same_units(segments[-1].units):
            _store(out, plan, segments, shards, indexes)
            return {shard.name for shard in shards}
        tried = zip(shards, indexes, strict=False)
        indexed |= {place_of(shard): index for shard, index in tried if shard.name in unknown}
    return set()


def _store(
    out: str,
    plan: Plan,
    segments: Sequence[PlanSegment],
    shards: Sequence[ConditionShard],
    indexes: Sequence[ShardIndex],
) -> None:
    """Write the index of a segment's source, with those of its shards that were retired and not planned again."""
    head = segments[-1].head
    retired = {segments[plan.segment_of(unit)].units.find(unit).shard for unit in head.retires}
    gone, nothing = gone_rows(sorted(retired - {shard.name for shard in shards}))
    url = storage.join(out, layout.source_index(head.segment))
    write_source_index(url, [*shards, *gone], [*indexes, *nothing] if gone else indexes)


def _limit(plan: Plan) -> int | None:
    return plan.spec.source.limit if plan.segment == 0 else None


def _units(
    out: str,
    plan: Plan,
    segments: Sequence[PlanSegment],
    shards: Sequence[ConditionShard],
    indexes: Sequence[ShardIndex],
) -> UnitTable:
    head, before = segments[-1].head, NOTHING
    if head.segment:
        before = before_next(out, join_segments(segments[:-1]), head.retires, indexes, plan.spec)
    return UnitTable.of(cut_units(shards, indexes, plan.spec, before), head.first_unit)
