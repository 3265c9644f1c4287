"""Repair: regenerate exactly the units that are damaged or missing, to the bytes that ledger or index names."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from dentgen import storage
from dentgen.conditions.readers.source import list_shards
from dentgen.documents.units import Unit
from dentgen.errors import BuildError, ConditionError, NothingWrittenError, StorageError
from dentgen.pipeline.actors.workers import Workers
from dentgen.pipeline.find_plan import FoundPlan, find_plan, put_back
from dentgen.pipeline.finish import finish, seal_version
from dentgen.pipeline.make_units import make_units
from dentgen.pipeline.recut import index_again
from dentgen.pipeline.repair_retired import repair_retired
from dentgen.pipeline.repair_units import Make, claims_on, require_environment, sealed_claims, unpinned
from dentgen.pipeline.verify import verify
from dentgen.shards import layout
from dentgen.shards.lease import Lease, hold_lease
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
    from them is sealed again only once every unit is sound, so that nothing gets worse. Units that were retired come
    back as far as the source still gives their bytes; the others are left, and hold up nothing else.

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
    location = replace(known, source=source or known.source, bundle=bundle or known.bundle)
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

    def make(units: Sequence[Unit], claims: dict[int, set[str]]) -> None:
        planned = sum(unit.samples(plan.spec.sampling.variants) for unit in units)
        make_units(plan, units, location, workers, lease, claims=claims, progress=lambda n: progress(n, planned))

    damaged = sorted({problem.unit for problem in problems if problem.unit is not None})
    current = [number for number in damaged if plan.units.number_of(number) is not None]
    if current:
        _make_again(plan, location, current, make)
    remade = repair_retired(plan, location, found.retired.select(np.array(damaged, np.int64)), make)
    lease.check()
    standing = {problem.unit for problem in verify(out) if problem.unit is not None and not problem.derived}
    if not any(plan.units.number_of(number) is not None for number in standing):
        _seal_again(plan, location, problems, standing)
    left = tuple(remade.told(problem) for problem in verify(out, checking))
    return RepairOutcome(problems, tuple(sorted({*current, *remade.units})), left)


def _make_again(plan: Plan, location: BuildLocation, damaged: Sequence[int], make: Make) -> None:
    """Generate damaged units of the plan."""
    require_environment(plan.at(location))
    _require_source(plan, location)
    sealed = sealed_claims(location.output, plan.segment)
    units = [unpinned(plan.units.find(number)) for number in damaged]
    make(units, {unit.id: claims_on(location.output, unit, sealed) for unit in units})


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


def _seal_again(plan: Plan, location: BuildLocation, problems: Sequence[Problem], lost: Collection[int]) -> None:
    """Derive index, table and descriptions from the ledger again, then remove what belongs to nothing.

    Versions with units that are lost stay as they are.
    """
    out = location.output
    derived = {problem.derived for problem in problems}
    indexes = [segment for segment in range(plan.segment + 1) if layout.source_index(segment) in derived]
    index_again(out, plan, indexes, location.source)
    for version in range(plan.segment):
        is_damaged = any(problem.derived.startswith(layout.versioned(version, "")) for problem in problems)
        if is_damaged and not (lost and {*lost} & {*plan.units_of_version(version)}):
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
