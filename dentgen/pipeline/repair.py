"""Repair: make again exactly the units that are damaged or missing, to the bytes that were committed.

What the ledger names is the truth: other bytes than those are never put. Refuses to know how a unit is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dentgen import storage
from dentgen.conditions.labels import LABEL_VALUES
from dentgen.errors import SpecChangedError
from dentgen.models.bundle import chosen_digest
from dentgen.pipeline.environment import environment
from dentgen.pipeline.run import finish, make_units
from dentgen.shards.lease import Lease, hold_lease
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import read_plan
from dentgen.shards.verify import Problem, verify_build
from dentgen.spec.build import BuildSpec
from dentgen.spec.yaml_file import spec_difference


@dataclass(frozen=True, slots=True)
class RepairOutcome:
    """What a repair came to.

    Attributes:
        problems: What was wrong.
        units: Units that were made again.
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
    """Verify a build, make again what is damaged, and verify again.

    Args:
        out: The build.
        source: Where its condition shards are now; None: where they were.
        use_ray: As for ``build``.
        address: As for ``build``.
        progress: Told the samples made so far, and how many are to be made.

    Raises:
        SpecChangedError: If this environment or bundle would make other bytes.
        BuildError: If a build lives there; if a unit cannot be made again, for which nothing is changed.
    """
    plan = read_plan(out)
    with hold_lease(out, BuildSpec.model_validate(plan.spec).pipeline.lease_seconds) as lease:
        return _repair(plan, out, source, lease, use_ray=use_ray, address=address, progress=progress)


def _repair(
    plan: Plan,
    out: str,
    source: str | None,
    lease: Lease,
    *,
    use_ray: bool,
    address: str | None,
    progress: Callable[[int, int], None],
) -> RepairOutcome:
    problems = tuple(verify_build(out, plan, LABEL_VALUES))
    damaged = {problem.unit for problem in problems}
    units = [unit for unit in plan.units if unit.id in damaged]
    if units:
        spec = _spec_here(plan, out, source)
        _check_environment(plan, spec)
        planned = sum(unit.samples(spec.sampling.variants) for unit in units)
        make_units(
            plan, units, spec, lease, use_ray=use_ray, address=address, restoring=True,
            progress=lambda done: progress(done, planned),
        )  # fmt: skip
    if not problems:
        return RepairOutcome((), (), ())
    lease.check()
    for name in {problem.derived for problem in problems if problem.derived}:
        storage.remove(storage.join(out, name))
    finish(out, plan)
    return RepairOutcome(problems, tuple(unit.id for unit in units), tuple(verify_build(out, plan, LABEL_VALUES)))


def _spec_here(plan: Plan, out: str, source: str | None) -> BuildSpec:
    """The plan's spec with the places where source and output are now."""
    spec = BuildSpec.model_validate(plan.spec)
    return spec.model_copy(
        update={
            "output": spec.output.model_copy(update={"path": out}),
            "source": spec.source.model_copy(update={"path": source or spec.source.path}),
        }
    )


def _check_environment(plan: Plan, spec: BuildSpec) -> None:
    here = {**environment(spec), "bundle_digest": chosen_digest(spec.model)}
    difference = spec_difference({**plan.environment, "bundle_digest": plan.bundle_digest}, here)
    if difference:
        raise SpecChangedError("repair would make other bytes here than were committed:\n  " + "\n  ".join(difference))
