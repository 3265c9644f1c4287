"""Growth: the condition shards that are new in a source become the next segment of a build's plan."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from dentgen import storage
from dentgen.conditions.readers.raw import ConditionShard
from dentgen.conditions.readers.twins import warn_of_twins
from dentgen.errors import BuildError
from dentgen.models.native_size import with_size
from dentgen.pipeline.known_source import gone_rows, lost_indexes, note_shards
from dentgen.pipeline.plan import enough_records, needs_metadata, resolved_spec
from dentgen.pipeline.recut import before_next, index_again
from dentgen.pipeline.source_changes import ChangedShard, OnChanged, SourceChanges
from dentgen.pipeline.source_index import PackedIndexes, index_source, write_source_index
from dentgen.pipeline.units import cut_units
from dentgen.pipeline.upscale import with_upscale
from dentgen.shards import layout
from dentgen.shards.plan import Plan, published_plan
from dentgen.shards.plan_file import read_plan, write_plan
from dentgen.shards.unit_table import UnitTable
from dentgen.spec.build import BuildSpec

_LOG = logging.getLogger(__name__)


def grow_plan(out: str, spec: BuildSpec, plan: Plan, changes: SourceChanges, on_changed: OnChanged) -> Plan | None:
    """Plan what is new in a source, and store it as the next segment.

    Units go on counting, so that no name occurs twice. Files of earlier segments are not touched.

    Args:
        out: The build.
        spec: What to build; it was compared with the plan.
        plan: The standing plan, of which no unit is pending.
        changes: What became of the source since.
        on_changed: With ``rebuild-as-new``, units of changed shards are retired and their records planned anew, and
            units of shards that are gone are retired.

    Returns:
        The plan with the new segment; None if nothing new is to be planned. Shards that changed or are gone and gave no
        unit are then known as they are now.

    Raises:
        BuildError: If nothing would be left.
        StorageError: If the keys of earlier records are lost, and the source does not give them again.
    """
    rebuilt = changes.changed if on_changed == "rebuild-as-new" else ()
    numbers = plan.units.numbers_by_shard(change.name for change in rebuilt)
    retires = tuple(sorted(chain.from_iterable(numbers.values())))
    shards = sorted((*changes.new, *(one.shard for one in rebuilt if one.shard)), key=lambda shard: shard.name)
    if not shards and not rebuilt:
        return None
    index_again(out, plan, lost_indexes(out, plan), spec.source.path)
    spec = with_size(with_upscale(spec))
    shards, indexes = _indexed(spec, plan, shards, retires)
    before = before_next(out, plan, retires, indexes, spec)
    units = UnitTable.of(cut_units(shards, indexes, spec, before), plan.total_units)
    if not units and not retires:
        _note_as_known(out, plan, shards, indexes, rebuilt)
        return None
    grown = _continued(plan, spec, units, retires)
    if not grown.units:
        raise BuildError(
            file=storage.without_secrets(spec.source.path), found="no record that is left", expected="at least one"
        )
    _store(out, grown, shards, indexes, rebuilt)
    return read_plan(out)


def _indexed(
    spec: BuildSpec, plan: Plan, shards: Sequence[ConditionShard], retires: Sequence[int]
) -> tuple[list[ConditionShard], PackedIndexes]:
    """The shards that are needed for as many records as the spec's limit leaves, and their indexes."""
    limit = spec.source.limit
    if limit is not None:
        limit -= UnitTable.joined([plan.units], retires).records
        shards = shards if limit > 0 else ()
    _LOG.info("%s: indexing %d new condition shards", storage.without_secrets(spec.source.path), len(shards))
    enough = enough_records(limit, spec.source.split)
    indexes = index_source(shards, {}, with_metadata=needs_metadata(spec), enough=enough)
    warn_of_twins(indexes)
    return list(shards[: len(indexes)]), indexes


def _continued(plan: Plan, spec: BuildSpec, units: UnitTable, retires: tuple[int, ...]) -> Plan:
    return replace(
        plan,
        segment=plan.segment + 1,
        spec=resolved_spec(spec),
        units=UnitTable.joined([plan.units, units], retires),
        firsts=(*plan.firsts, plan.total_units),
        retires=(*plan.retires, retires),
        base_sha256=plan.digest(),
    )


def _store(
    out: str, grown: Plan, shards: Sequence[ConditionShard], indexes: PackedIndexes, rebuilt: Sequence[ChangedShard]
) -> None:
    """The index of the new shards first: it counts once the segment's head is there."""
    gone, nothing = gone_rows(change.name for change in rebuilt if change.shard is None)
    indexes.pack(nothing)
    write_source_index(storage.join(out, layout.source_index(grown.segment)), [*shards, *gone], indexes)
    if not write_plan(out, published_plan(grown, out)):
        _LOG.warning("%s: another process planned segment %d", storage.without_secrets(out), grown.segment)


def _note_as_known(
    out: str, plan: Plan, shards: Sequence[ConditionShard], indexes: PackedIndexes, rebuilt: Sequence[ChangedShard]
) -> None:
    """Remember shards without a record for this build, changed ones as well, so that the next run need not read them.

    They become the last rows of the newest segment, which gives the same units with and without them.
    """
    noted = {shard.name for shard in shards}
    # those that the spec's limit left out
    left = [one.shard for one in rebuilt if one.shard is not None and one.name not in noted]
    gone, nothing = gone_rows(one.name for one in rebuilt if one.shard is None)
    if not (shards or left or gone):
        return
    more = index_source(left, {}, with_metadata=needs_metadata(plan.spec))
    note_shards(out, plan, [*shards, *left, *gone], [*indexes, *more, *nothing])
