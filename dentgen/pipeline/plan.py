"""Planning: index the source, cut it into units, resolve everything that decides their bytes, before anything runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from dentgen import storage
from dentgen.conditions.readers.raw import ConditionShard, ShardIndex
from dentgen.conditions.readers.source import list_shards
from dentgen.conditions.readers.twins import warn_of_twins
from dentgen.documents.units import Unit
from dentgen.errors import BuildError, SpecChangedError
from dentgen.generation.generator import solver_table
from dentgen.models.bundle import bundle_digest, find_bundle
from dentgen.models.bundle_licenses import bundle_licenses
from dentgen.models.judges import judges_digest
from dentgen.models.native_size import with_size
from dentgen.pipeline.environment import environment
from dentgen.pipeline.planned_gate import planned_gate
from dentgen.pipeline.source_build import check_findings_of, read_source_build
from dentgen.pipeline.source_index import (
    IndexProgress,
    Known,
    PackedIndexes,
    index_source,
    read_source_index,
    write_source_index,
)
from dentgen.pipeline.units import cut_units, wanted_positions
from dentgen.pipeline.upscale import with_upscale
from dentgen.shards import layout
from dentgen.shards.ledger import anything_written, committed_units, ledger_url
from dentgen.shards.plan import Plan, published_plan
from dentgen.shards.plan_file import plan_exists, read_plan, remove_plan, write_plan
from dentgen.shards.seals import newest_sealed
from dentgen.shards.unit_table import UnitTable
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import spec_difference

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class DraftPlan:
    """A plan that is not stored yet, with its places as they are here, and the indexed source that it was cut from.

    Attributes:
        plan: The plan.
        shards: Condition shards of the source, in order.
        indexes: Their indexes; fewer than shards where ``source.limit`` needs no more.
    """

    plan: Plan
    shards: Sequence[ConditionShard]
    indexes: PackedIndexes


def make_plan(spec: BuildSpec, progress: IndexProgress | None = None) -> Plan:
    """The plan of a spec, without storing anything; for arguments and errors see ``draft_plan``."""
    return draft_plan(spec, progress).plan


def draft_plan(spec: BuildSpec, progress: IndexProgress | None = None) -> DraftPlan:
    """Index the source and cut it into units; nothing is written.

    Args:
        spec: What to build.
        progress: Called while condition shards are indexed.

    Raises:
        ConditionError: If the source has no shard.
        BuildError: If no record is left to use.
        BundleError: If the bundle cannot be found, lacks what the spec chooses, or tells no picture size that the spec
            leaves to it.
        SolverError: If the spec's scheduler cannot be used.
        SpecError: If the spec asks for what its source does not have, or its gate's reference has no labelled pictures.
    """
    plan = plan_without_units(spec)
    for name in spec.unsaid_words:
        _LOG.warning("model.embeddings: %s is loaded, but no prompt of the spec says <%s>", name, name)
    shards, indexes = indexed(plan.spec, progress)
    made_from = read_source_build(plan.spec.source.path) if shards[0].kind == "build" else None
    check_findings_of(plan.spec, made_from)
    units = UnitTable.of(cut_units(shards, indexes, plan.spec))
    if not units:
        wanted = "record" if spec.source.split is None else f"record of split {spec.source.split!r}"
        raise BuildError(file=storage.without_secrets(spec.source.path), found=f"no {wanted}", expected="at least one")
    gate = planned_gate(plan.spec, plan.environment["device"])
    return DraftPlan(replace(plan, units=units, made_from=made_from, gate=gate), shards, indexes)


def plan_without_units(spec: BuildSpec) -> Plan:
    """Everything that decides bytes but the source: spec, bundle and environment, as they are here.

    Raises:
        BundleError: As ``draft_plan``; SolverError too.
    """
    spec = with_size(with_upscale(spec))
    folder = find_bundle(spec.model.bundle)
    solver_table(spec, folder)
    return Plan(
        segment=0,
        spec=resolved_spec(spec),
        spec_digest=spec.digest(),
        bundle_digest=bundle_digest(spec.model),
        environment=environment(spec),
        units=UnitTable.of(()),
        bundle_licenses=bundle_licenses(spec.model, folder),
    )


def standing_plan(out: str, spec: BuildSpec) -> Plan | None:
    """The plan that a build must go on with, None if nothing was written under one.

    Raises:
        SpecChangedError: If the build was started with another spec, bundle or environment; the message lists every
            difference. The source is compared later.
        BuildError: If the plan is damaged.
    """
    if not plan_exists(out) or not (newest_sealed(out) is not None or anything_written(out)):
        return None
    standing = read_plan(out)
    _require_same(out, standing, plan_without_units(spec), with_units=False)
    _require_same_judges(out, standing, spec)
    return standing


def _require_same_judges(out: str, standing: Plan, spec: BuildSpec) -> None:
    """Limits stay as they were planned, whatever the reference is now; judges have to be the same."""
    if standing.gate is None or spec.quality.gate is None:
        return
    found = judges_digest(spec.quality.judges)
    if found != standing.gate.judges_sha256:
        raise SpecChangedError(
            f"the build was started differently:\n  judges: {standing.gate.judges_sha256} -> {found}",
            file=storage.without_secrets(storage.join(out, layout.plan_head())), key="quality.gate.judges",
            advice="undo the change, or choose another output.path",
        )  # fmt: skip


def adopt_plan(out: str, draft: DraftPlan) -> Plan:
    """Store a plan, or adopt the one that the output has.

    A stored plan under which nothing was written is replaced: it may be that of a spec with a mistake.

    Returns:
        The plan of record.

    Raises:
        SpecChangedError: If the build was started with another spec, bundle, source or environment; the message lists
            every difference.
    """
    if plan_exists(out) and not anything_written(out) and not _is_stored(out, draft.plan):
        _LOG.info("%s: nothing was written under its plan, which is replaced", storage.without_secrets(out))
        start_over(out)
    if not plan_exists(out):
        write_source_index(storage.join(out, layout.SOURCE_INDEX), draft.shards, draft.indexes)
        write_plan(out, published_plan(draft.plan, out))
    standing = read_plan(out)
    _require_same(out, standing, draft.plan)
    if standing.units != draft.plan.units:  # shards were copied or touched; the next run need not read them again
        write_source_index(storage.join(out, layout.SOURCE_INDEX), draft.shards, draft.indexes)
    return standing


def start_over(out: str) -> None:
    """Remove a plan under which nothing was written, and the records of what was rejected."""
    for unit in committed_units(out):  # first: a plan without records does no harm, records without a plan would count
        storage.remove(ledger_url(out, unit))
    remove_plan(out)


def _is_stored(out: str, plan: Plan) -> bool:
    """Whether the stored plan is equal to another; a damaged one is not."""
    try:
        difference, _ = _difference(read_plan(out), plan)
    except BuildError:
        return False
    return not difference


def _require_same(out: str, standing: Plan, plan: Plan, *, with_units: bool = True) -> None:
    difference, environment_only = _difference(standing, plan, with_units=with_units)
    if difference and environment_only and plan.spec.pipeline.environment == "warn":
        _LOG.warning("%s: continuing in another environment:\n  %s", out, "\n  ".join(difference))
    elif difference:
        raise SpecChangedError(
            "the build was started differently:\n  " + "\n  ".join(difference),
            file=storage.without_secrets(storage.join(out, layout.plan_head())),
            advice="undo the change, or choose another output.path",
        )


def indexed(
    spec: BuildSpec, progress: IndexProgress | None = None, known: Known | None = None
) -> tuple[Sequence[ConditionShard], PackedIndexes]:
    """The condition shards of a spec's source and their indexes; ``known`` None takes those that its output keeps."""
    shards = list_shards(spec.source.path, spec.source.format)
    _LOG.info("%s: indexing %d condition shards", storage.without_secrets(spec.source.path), len(shards))
    indexes = index_source(
        shards,
        read_source_index(storage.join(spec.output.path, layout.SOURCE_INDEX)) if known is None else known,
        with_metadata=needs_metadata(spec),
        enough=enough_records(spec.source.limit, spec.source.split),
        progress=progress,
    )
    warn_of_twins(indexes)
    return shards, indexes


def resolved_spec(spec: BuildSpec) -> BuildSpec:
    """The spec with everything that follows from it, as plans store it."""
    engine = spec.engine.model_copy(update={"control_slots": spec.control_slots})
    return spec.model_copy(update={"engine": engine})


def needs_metadata(spec: BuildSpec) -> bool:
    """Whether the splits and attributes of records decide what is planned."""
    return spec.source.split is not None or bool(spec.source.oversample)


def enough_records(limit: int | None, split: str | None) -> Callable[[Sequence[ShardIndex]], bool]:
    """Tells after each chunk of shards whether ``limit`` records have been indexed."""
    found = 0

    def enough(chunk: Sequence[ShardIndex]) -> bool:
        nonlocal found
        found += sum(len(wanted_positions(index, split)) for index in chunk) if limit is not None else 0
        return limit is not None and found >= limit

    return enough


def _difference(old: Plan, new: Plan, *, with_units: bool = True) -> tuple[list[str], bool]:
    """What differs between two plans, and whether that is the environment alone."""
    lines = []
    if old.spec.digest() != old.spec_digest:
        lines.append(f"stored plan: its spec was changed, its digest is {old.spec.digest()}, not {old.spec_digest}")
    if old.spec_digest != new.spec_digest:
        lines += spec_difference(old.spec.deciding(), new.spec.deciding())
    if old.bundle_digest != new.bundle_digest:
        lines.append(f"bundle digest: {old.bundle_digest} -> {new.bundle_digest}")
    if old.bundle_licenses != new.bundle_licenses:
        lines.append(f"licenses of the bundle: {list(old.bundle_licenses)} -> {list(new.bundle_licenses)}")
    if with_units and old.made_from != new.made_from:
        lines.append(f"build that is the source: {old.made_from} -> {new.made_from}")
    if with_units and old.gate != new.gate:
        lines.append(f"quality gate, as it is resolved: {old.gate} -> {new.gate}")
    lines += _unit_difference(old, new) if with_units else []
    environments = spec_difference({"environment": old.environment}, {"environment": new.environment})
    return lines + environments, not lines


def _unit_difference(old: Plan, new: Plan) -> list[str]:
    """What differs in the source: other units, or condition shards of other content."""
    if old.units.same_units(new.units):
        return []
    pairs = zip_longest(old.units, new.units)
    before, after = next(((x, y) for x, y in pairs if x is None or y is None or not _same_unit(x, y)), (None, None))
    if before and after and _same_unit(replace(before, shard_content=""), replace(after, shard_content="")):
        content = f"{before.shard_content} -> {after.shard_content}"
        return [f"source: the condition shard {before.shard} was replaced since the build was planned: {content}"]
    return [f"source: {len(old.units)} units -> {len(new.units)} units, first difference: {before} -> {after}"]


def _same_unit(one: Unit, other: Unit) -> bool:
    return replace(one, shard_tag="") == replace(other, shard_tag="")
