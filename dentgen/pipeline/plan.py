"""Planning: index the source, cut it into units, resolve everything that decides their bytes, before anything runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import zip_longest

from dentgen import storage
from dentgen.conditions.readers.raw import ShardIndex
from dentgen.conditions.readers.source import list_shards
from dentgen.errors import BuildError, SpecChangedError
from dentgen.generation.generator import solver_table
from dentgen.models.bundle import bundle_digest, find_bundle
from dentgen.pipeline.environment import environment
from dentgen.pipeline.source_index import (
    IndexProgress,
    index_source,
    is_known,
    read_source_index,
    write_source_index,
)
from dentgen.pipeline.units import cut_units, wanted_positions
from dentgen.shards import layout
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import read_plan, write_plan
from dentgen.shards.unit_table import UnitTable
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import spec_difference

_LOG = logging.getLogger(__name__)


def make_plan(spec: BuildSpec, progress: IndexProgress | None = None, *, keep_index: bool = True) -> Plan:
    """Index the source and cut it into units.

    Args:
        spec: What to build.
        progress: Called while condition shards are indexed.
        keep_index: Write what was indexed into the output, where the next plan of this build finds it.

    Raises:
        ConditionError: If the source has no shard.
        BuildError: If no record is left to use.
        SolverError: If the spec's scheduler cannot be used.
    """
    solver_table(spec, find_bundle(spec.model.bundle))
    units = _cut(spec, progress, keep_index=keep_index)
    if not units:
        wanted = "record" if spec.source.split is None else f"record of split {spec.source.split!r}"
        raise BuildError(file=storage.without_secrets(spec.source.path), found=f"no {wanted}", expected="at least one")
    return Plan(
        segment=0,
        spec=_resolved(spec),
        spec_digest=spec.digest(),
        bundle_digest=bundle_digest(spec.model),
        environment=environment(spec),
        units=units,
    )


def adopt_plan(out: str, plan: Plan) -> Plan:
    """Publish a plan, or adopt the one that the output has.

    Returns:
        The plan of record.

    Raises:
        SpecChangedError: If the build was started with another spec, bundle, source or environment; the message lists
            every difference.
    """
    if write_plan(out, plan):
        return plan
    standing = read_plan(out)
    difference, environment_only = _difference(standing, plan)
    if difference and environment_only and plan.spec.pipeline.environment == "warn":
        _LOG.warning("%s: continuing in another environment:\n  %s", out, "\n  ".join(difference))
        return standing
    if difference:
        raise SpecChangedError(
            "the build was started differently:\n  " + "\n  ".join(difference),
            file=storage.without_secrets(storage.join(out, layout.plan_head())),
            advice="undo the change, or choose another output.path",
        )
    return standing


def _cut(spec: BuildSpec, progress: IndexProgress | None, *, keep_index: bool) -> UnitTable:
    shards = list_shards(spec.source.path, spec.source.format)
    _LOG.info("%s: indexing %d condition shards", storage.without_secrets(spec.source.path), len(shards))
    kept = storage.join(spec.output.path, layout.SOURCE_INDEX)
    known = read_source_index(kept)
    with_metadata = spec.source.split is not None or bool(spec.source.oversample)
    indexes = index_source(
        shards,
        known,
        with_metadata=with_metadata,
        enough=_enough(spec.source.limit, spec.source.split),
        progress=progress,
    )
    new = not all(is_known(shard, known, with_metadata=with_metadata) for shard in shards[: len(indexes)])
    if new and keep_index:
        write_source_index(kept, shards, indexes)
    del known  # as large as the indexes, and not needed from here on
    return UnitTable.of(cut_units(shards, indexes, spec))


def _resolved(spec: BuildSpec) -> BuildSpec:
    engine = spec.engine.model_copy(update={"control_slots": spec.control_slots})
    source = spec.source.model_copy(update={"path": storage.without_secrets(spec.source.path)})
    output = spec.output.model_copy(update={"path": storage.without_secrets(spec.output.path)})
    return spec.model_copy(update={"engine": engine, "source": source, "output": output})


def _enough(limit: int | None, split: str | None) -> Callable[[Sequence[ShardIndex]], bool]:
    """Tells after each chunk of shards whether ``limit`` records have been indexed."""
    found = 0

    def enough(chunk: Sequence[ShardIndex]) -> bool:
        nonlocal found
        found += sum(len(wanted_positions(index, split)) for index in chunk) if limit is not None else 0
        return limit is not None and found >= limit

    return enough


def _difference(old: Plan, new: Plan) -> tuple[list[str], bool]:
    """What differs between two plans, and whether that is the environment alone."""
    lines = []
    if old.spec_digest != new.spec_digest:
        lines += spec_difference(old.spec.deciding(), new.spec.deciding())
    if old.bundle_digest != new.bundle_digest:
        lines.append(f"bundle digest: {old.bundle_digest} -> {new.bundle_digest}")
    if old.units != new.units:
        pairs = zip_longest(old.units, new.units)
        before, after = next(((x, y) for x, y in pairs if x != y), (None, None))
        lines.append(f"source: {len(old.units)} units -> {len(new.units)} units, first difference: {before} -> {after}")
    environments = spec_difference({"environment": old.environment}, {"environment": new.environment})
    return lines + environments, not lines
