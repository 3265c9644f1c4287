"""Repair: regenerate exactly the units that are damaged or missing, to the bytes that the ledger names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dentgen import storage
from dentgen.conditions.labels import LABEL_VALUES
from dentgen.errors import SpecChangedError
from dentgen.models.bundle import bundle_digest
from dentgen.pipeline.actors.dataset import Workers
from dentgen.pipeline.environment import environment_difference
from dentgen.pipeline.run import finish, make_units
from dentgen.shards.lease import Lease, hold_lease
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.shards.plan_file import read_plan
from dentgen.shards.verify import Problem, verify_build


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
    *,
    use_ray: bool = True,
    address: str | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> RepairOutcome:
    """Verify a build, regenerate what is damaged, and verify again.

    Args:
        out: The build.
        source: Where its condition shards are now; None: where the build was planned from.
        use_ray: As for ``build``.
        address: As for ``build``.
        progress: Called with the samples done and the samples to do.

    Raises:
        SpecChangedError: If this environment or bundle would give other bytes.
        BuildError: If another build holds the output, or a unit cannot be regenerated; nothing is changed for it.
    """
    plan = read_plan(out)
    location = BuildLocation(source or plan.spec.source.path, out)
    workers = Workers(address, plan.spec.pipeline) if use_ray else None
    with hold_lease(out, plan.spec.pipeline.lease_seconds) as lease:
        return _repair(plan, location, workers, lease, progress)


def _repair(
    plan: Plan,
    location: BuildLocation,
    workers: Workers | None,
    lease: Lease,
    progress: Callable[[int, int], None],
) -> RepairOutcome:
    out = location.output
    problems = tuple(verify_build(out, plan, LABEL_VALUES))
    if not problems:
        return RepairOutcome((), (), ())
    damaged = sorted({problem.unit for problem in problems if problem.unit is not None})
    units = [plan.units[number] for number in damaged]
    if units:
        _check_environment(plan)
        planned = sum(unit.samples(plan.spec.sampling.variants) for unit in units)
        make_units(plan, units, location, workers, lease, restoring=True, progress=lambda done: progress(done, planned))
    lease.check()
    for name in {problem.derived for problem in problems if problem.derived}:
        storage.remove(storage.join(out, name))
    finish(out, plan)
    return RepairOutcome(problems, tuple(damaged), tuple(verify_build(out, plan, LABEL_VALUES)))


def _check_environment(plan: Plan) -> None:
    difference = environment_difference(plan)
    digest = bundle_digest(plan.spec.model)
    if digest != plan.bundle_digest:
        difference.append(f"bundle digest: {plan.bundle_digest} -> {digest}")
    if difference:
        raise SpecChangedError("repair would give other bytes here than were committed:\n  " + "\n  ".join(difference))
