"""Repair: regenerate exactly the units that are damaged or missing, to the bytes that ledger or index names."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from dentgen import storage
from dentgen.conditions.readers.source import list_shards
from dentgen.documents import Unit
from dentgen.errors import BuildError, ConditionError, NothingWrittenError, SpecChangedError, StorageError
from dentgen.models.bundle import bundle_digest
from dentgen.pipeline.actors.workers import Workers
from dentgen.pipeline.environment import environment_difference
from dentgen.pipeline.find_plan import FoundPlan, find_plan, put_back
from dentgen.pipeline.recut import index_again
from dentgen.pipeline.run import finish, make_units, seal_version
from dentgen.pipeline.verify import verify
from dentgen.shards import layout
from dentgen.shards.index import sealed_indexes
from dentgen.shards.lease import Lease, hold_lease
from dentgen.shards.ledger import digest_of, read_ledger, shard_url
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.shards.plan_file import read_plan
from dentgen.shards.problem import Problem


@dataclass(frozen=True, slots=True)
class RepairOutcome:
    """Result of a repair.

    Attributes:
        problems: What was wrong.
        units: Units that were regenerated.
        left: What is still wrong.
    """

    problems: tuple[Problem, ...]
    units: tuple[int, ...]
    left: tuple[Problem, ...]


def repair(
    out: str,
    source: str | None = None,
    bundle: str | None = None,
    *,
    use_ray: bool = True,
    address: str | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
    checking: Callable[[int, int], None] = lambda *_: None,
) -> RepairOutcome:
    """Verify a build, put back what is damaged from the best witness, and verify again.

    Units are generated again and put back only if their bytes are those that ledger or index names; what is derived
    from them is sealed again only once every unit is sound, so that nothing gets worse.

    Args:
        out: The build.
        source: Where its condition shards are now; None: where the build was planned from.
        bundle: Where its model bundle is now; None: where it was.
        use_ray: As for ``build``.
        address: As for ``build``.
        progress: Called with the samples done and the samples to do.
        checking: Called with the units verified and the units there are, before and after.

    Raises:
        SpecChangedError: If this environment or bundle would give other bytes.
        BuildError: If the plan is lost, another build holds the output, or a unit cannot be regenerated; nothing is
            changed for it.
    """
    found = find_plan(out)
    settings = found.plan.spec.pipeline
    workers = Workers(address, settings) if use_ray else None
    known = BuildLocation.of_plan(found.plan, out)
    location = BuildLocation(source or known.source, out, bundle or known.bundle)
    with hold_lease(out, settings.lease_seconds) as lease:
        return _repair(found, location, workers, lease, progress, checking)


def _repair(
    found: FoundPlan,
    location: BuildLocation,
    workers: Workers | None,
    lease: Lease,
    progress: Callable[[int, int], None],
    checking: Callable[[int, int], None],
) -> RepairOutcome:
    out, plan = location.output, found.plan
    problems = tuple(verify(out, checking))
    if not problems:
        return RepairOutcome((), (), ())
    _put_plan_back(out, found)
    damaged = sorted({problem.unit for problem in problems if problem.unit is not None})
    if damaged:
        _check_environment(plan.at(location))
        _require_source(plan, location)
        units = [_unpinned(plan.units.find(number)) for number in damaged]
        planned = sum(unit.samples(plan.spec.sampling.variants) for unit in units)
        sealed = [{entry.name: entry.sha256 for entry in index.shards} for index in sealed_indexes(out, plan.segment)]
        claims = {unit.id: _claims(out, unit, sealed) for unit in units}
        make_units(plan, units, location, workers, lease, claims=claims, progress=lambda n: progress(n, planned))
    lease.check()
    if not any(problem.unit is not None and not problem.derived for problem in verify(out)):
        _seal_again(plan, location, problems)
    return RepairOutcome(problems, tuple(damaged), tuple(verify(out, checking)))


def _put_plan_back(out: str, found: FoundPlan) -> None:
    lost = {problem.place for problem in found.problems} - {layout.plan_head(number) for number in found.copies}
    if lost:
        raise BuildError(
            f"the plan cannot be trusted: {'; '.join(problem.text for problem in found.problems)}",
            file=storage.without_secrets(storage.join(out, min(lost))),
            advice="restore the file; nothing was changed",
        )
    if found.copies:
        put_back(out, found)


def _unpinned(unit: Unit) -> Unit:
    """The unit without its shard's tag and content: the bytes that come out decide, so the source may be a copy."""
    return replace(unit, shard_tag="", shard_content="")


def _claims(out: str, unit: Unit, sealed: Sequence[Mapping[str, str]]) -> set[str]:
    """What the unit's own record and the sealed indexes say of its sha256, "" for no shard; else its shard itself."""
    claims = {entries.get(layout.shard_file(unit.name), "") for entries in sealed}
    with suppress(StorageError):  # missing or damaged: no witness
        record = read_ledger(out, unit.name)
        claims |= {record.sha256} if record.unit == unit.id else set()
    if not claims and (shard := storage.read_if_exists(shard_url(out, unit.name))):
        claims = {digest_of(shard)}  # nothing else tells which bytes are right
    return claims


def _seal_again(plan: Plan, location: BuildLocation, problems: Sequence[Problem]) -> None:
    """Derive index, table and descriptions from the ledger again, then remove what belongs to nothing."""
    out = location.output
    for segment in range(plan.segment + 1):
        if any(problem.derived == layout.source_index(segment) for problem in problems):
            index_again(out, plan, segment, location.source)
    for version in range(plan.segment):
        if any(problem.derived.startswith(layout.versioned(version, "")) for problem in problems):
            # a version of which nothing was written has no seal
            with tempfile.TemporaryDirectory() as folder, suppress(NothingWrittenError):
                seal_version(out, read_plan(out, version), folder, again=True)
    finish(out, plan, again=True)
    for stray in {problem.stray for problem in problems if problem.stray}:
        storage.remove(storage.join(out, stray))


def _require_source(plan: Plan, location: BuildLocation) -> None:
    try:
        list_shards(location.source, plan.spec.source.format)
    except (ConditionError, StorageError) as error:
        raise BuildError(
            f"the condition shards are needed to generate units again: {error}", file=error.file,
            advice="'--source' names where they are now",
        ) from error  # fmt: skip


def _check_environment(plan: Plan) -> None:
    difference = environment_difference(plan)
    digest = bundle_digest(plan.spec.model)
    if digest != plan.bundle_digest:
        difference.append(f"bundle digest: {plan.bundle_digest} -> {digest}")
    if difference:
        raise SpecChangedError("repair would give other bytes here than were committed:\n  " + "\n  ".join(difference))
