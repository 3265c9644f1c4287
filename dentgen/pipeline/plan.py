"""The plan: which units a build has and everything that decides their bytes, fixed before anything runs.

Refuses to know how a unit is made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import zip_longest

from dentgen import storage
from dentgen.conditions.readers.raw import ShardIndex
from dentgen.conditions.readers.source import list_shards
from dentgen.errors import BuildError, SpecChangedError
from dentgen.generation.generator import solver_table
from dentgen.models.bundle import chosen_digest, find_bundle
from dentgen.pipeline.environment import environment
from dentgen.pipeline.source_index import IndexProgress, index_source, is_known, read_source_index, write_source_index
from dentgen.pipeline.units import cut_units, wanted_positions
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import PLAN, SOURCE_INDEX, plan_bytes, plan_url, read_plan
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import spec_difference

_LOG = logging.getLogger(__name__)


def make_plan(spec: BuildSpec, progress: IndexProgress | None = None) -> Plan:
    """Index the source and cut it into units.

    What was indexed before is kept beside the plan and read from there.

    Args:
        spec: What to build.
        progress: Told while condition shards are indexed.

    Raises:
        ConditionError: If the source has no shard.
        BuildError: If no record is left to use.
        SolverError: If the spec's scheduler cannot be used.
    """
    solver_table(spec, find_bundle(spec.model.bundle))
    shards = list_shards(spec.source.path, spec.source.format)
    _LOG.info("%s: %d condition shards to index", storage.without_secrets(spec.source.path), len(shards))
    kept = storage.join(spec.output.path, PLAN, SOURCE_INDEX)
    known = read_source_index(kept)
    with_metadata = spec.source.split is not None or bool(spec.source.oversample)
    indexes = index_source(
        shards,
        known,
        with_metadata=with_metadata,
        enough=_enough(spec.source.limit, spec.source.split),
        progress=progress,
    )
    if not all(is_known(shard, known, with_metadata=with_metadata) for shard in shards[: len(indexes)]):
        write_source_index(kept, shards, indexes)
    del known  # as large as the indexes, and in their way from here on
    units = tuple(cut_units(shards, indexes, spec))
    if not units:
        wanted = "record" if spec.source.split is None else f"record of split {spec.source.split!r}"
        raise BuildError(f"{storage.without_secrets(spec.source.path)}: found no {wanted}, expected at least one")
    return Plan(
        segment=0,
        spec=_resolved(spec).model_dump(mode="json"),
        spec_digest=spec.digest(),
        bundle_digest=chosen_digest(spec.model),
        environment=environment(spec),
        units=units,
    )


def adopt_plan(out: str, plan: Plan) -> Plan:
    """Publish a plan, or take up the one that stands there.

    Returns:
        The plan of record.

    Raises:
        SpecChangedError: If the build was begun with another spec, bundle, environment or set of records; the message
            spells out the difference.
    """
    url, content = plan_url(out), plan_bytes(plan)
    if storage.put_if_absent(url, content):
        storage.require_create_only(url, content)
        return plan
    if storage.read_bytes(url) == content:
        return plan
    standing = read_plan(out)
    difference = _difference(standing, plan)
    if difference:
        raise SpecChangedError(
            f"{url}: this build was begun differently; choose another output.path, or undo:\n  "
            + "\n  ".join(difference)
        )
    return standing


def _resolved(spec: BuildSpec) -> BuildSpec:
    engine = spec.engine.model_copy(update={"control_slots": spec.control_slots})
    source = spec.source.model_copy(update={"path": storage.without_secrets(spec.source.path)})
    output = spec.output.model_copy(update={"path": storage.without_secrets(spec.output.path)})
    return spec.model_copy(update={"engine": engine, "source": source, "output": output})


def _enough(limit: int | None, split: str | None) -> Callable[[Sequence[ShardIndex]], bool]:
    """Counts the records of the chunks that it is asked about."""
    found = 0

    def enough(chunk: Sequence[ShardIndex]) -> bool:
        nonlocal found
        found += sum(len(wanted_positions(index, split)) for index in chunk) if limit is not None else 0
        return limit is not None and found >= limit

    return enough


def _difference(old: Plan, new: Plan) -> list[str]:
    lines = []
    if old.spec_digest != new.spec_digest:
        old_spec, new_spec = (BuildSpec.model_validate(plan.spec).deciding() for plan in (old, new))
        lines += spec_difference(old_spec, new_spec)
    if old.bundle_digest != new.bundle_digest:
        lines.append(f"bundle digest: {old.bundle_digest} -> {new.bundle_digest}")
    lines += spec_difference({"environment": old.environment}, {"environment": new.environment})
    if old.units != new.units:
        pairs = zip_longest(old.units, new.units)
        before, after = next((x, y) for x, y in pairs if x != y)
        lines.append(
            f"source: {len(old.units)} units -> {len(new.units)} units, the first that differs: {before!r} -> {after!r}"
        )
    return lines
