"""Run a build: plan, make and commit what is pending through Ray Data, seal, report.

Started again it goes on: what is pending is the plan less the ledger. Refuses to know how a unit is made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dentgen.conditions.readers.source import list_shards
from dentgen.documents import DatasetIndex, Unit
from dentgen.errors import BuildError, DentgenError
from dentgen.generation.generator import load_generator, start_engine
from dentgen.generation.unit import generate_unit
from dentgen.pipeline.actors.commit_stage import UnitOutcome
from dentgen.pipeline.actors.dataset import make_with_ray
from dentgen.pipeline.actors.heartbeat import ActorReport
from dentgen.pipeline.actors.unit_maker import EngineBackend, UnitBackend
from dentgen.pipeline.plan import adopt_plan, make_plan
from dentgen.report.card.write import write_description
from dentgen.report.contact_sheet import write_contact_sheet
from dentgen.report.html.page import write_report
from dentgen.shards.index import mark_success, seal
from dentgen.shards.lease import Lease, hold_lease
from dentgen.shards.ledger import commit, committed_units, restore
from dentgen.shards.plan import Plan
from dentgen.spec.build import BuildSpec

_LOG = logging.getLogger(__name__)

#: Called with (samples done now, samples planned) after every committed unit.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class BuildOutcome:
    """What a build came to.

    Attributes:
        index: The sealed index.
        report: Where the report is.
        made: Units made by this run; the others were done before.
        actors: Start-up and busy share of every Ray actor.
    """

    index: DatasetIndex
    report: str
    made: int
    actors: tuple[ActorReport, ...] = ()


def build(
    spec: BuildSpec, *, use_ray: bool = True, address: str | None = None, progress: Progress | None = None
) -> BuildOutcome:
    """Build a dataset, or go on with one that was begun.

    Args:
        spec: What to build.
        use_ray: Make units in Ray actors; otherwise one after the other in this process, which a record that kills its
            reader then ends.
        address: Ray cluster to join; None: the one that the environment names, or a new one on this machine.
        progress: Told after every unit.

    Raises:
        SpecChangedError: If the output was begun differently.
        BuildError: If another build of the output lives, or a unit failed; everything committed stays, and a second run
            goes on.
    """
    with hold_lease(spec.output.path, spec.pipeline.lease_seconds) as lease:
        return _build(spec, lease, use_ray=use_ray, address=address, progress=progress)


def _build(
    spec: BuildSpec, lease: Lease, *, use_ray: bool, address: str | None, progress: Progress | None
) -> BuildOutcome:
    out = spec.output.path
    plan = adopt_plan(out, make_plan(spec))
    done = committed_units(out)
    pending = [unit for unit in plan.units if unit.name not in done]
    _LOG.info("%s: %d units planned, %d pending", out, len(plan.units), len(pending))
    before = sum(unit.samples(spec.sampling.variants) for unit in plan.units if unit.name in done)
    actors = make_units(
        plan, pending, spec, lease, use_ray=use_ray, address=address,
        progress=lambda samples: progress(before + samples, plan.planned) if progress is not None else None,
    )  # fmt: skip
    lease.check()
    return BuildOutcome(*finish(out, plan), len(pending), actors)


def finish(out: str, plan: Plan) -> tuple[DatasetIndex, str]:
    """Seal a build of which no unit is pending, and write what people look at."""
    index = seal(out, plan)
    write_description(out, plan, index)
    write_contact_sheet(out)
    report = write_report(out, plan)
    mark_success(out)
    return index, report


def make_units(
    plan: Plan,
    units: Sequence[Unit],
    spec: BuildSpec,
    lease: Lease,
    *,
    use_ray: bool,
    address: str | None = None,
    restoring: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    backend: Callable[[Plan], UnitBackend] = EngineBackend,
) -> tuple[ActorReport, ...]:
    """Make units and commit them, or put them back where they were committed before.

    Args:
        plan: The plan of record.
        units: Which of its units.
        spec: Where source and output are now, and how work is spread.
        lease: Held for the output; work ends when it is lost.
        use_ray: As for ``build``.
        address: As for ``build``.
        restoring: The units were committed before; only their own bytes may be put back.
        progress: Told the samples done so far after every unit.
        backend: Where Ray's actors make their units.

    Raises:
        BuildError: If units failed; the others are done. If the lease was lost.
    """
    if not units:
        return ()
    engine = BuildSpec.model_validate(plan.spec).engine  # with what planning resolved
    plan = plan.model_copy(update={"spec": spec.model_copy(update={"engine": engine}).model_dump(mode="json")})

    def collect(outcomes: Iterator[UnitOutcome]) -> None:
        _collect(outcomes, len(units), lease, progress)

    if not use_ray:
        collect(_in_process(plan, units, spec, restoring=restoring))
        return ()
    return make_with_ray(plan, units, spec, address, restoring=restoring, collect=collect, backend=backend)


def _collect(outcomes: Iterator[UnitOutcome], count: int, lease: Lease, progress: Callable[[int], None]) -> None:
    """Count what is done, go on past units that failed, and say in the end which; end when another builds."""
    failures: list[str] = []
    samples = 0
    for outcome in outcomes:
        if outcome.error:
            failures.append(f"unit {outcome.unit:06d}: {outcome.error}")
            _LOG.error(failures[-1])
        if outcome.fatal:
            raise BuildError(f"{failures[-1]}; the build ended there, what is committed stays, a second run goes on")
        samples += outcome.samples
        progress(samples)
        lease.check()
    if failures:
        raise BuildError(f"{len(failures)} of {count} units failed, a second run tries them again; first {failures[0]}")


def _in_process(plan: Plan, units: Sequence[Unit], spec: BuildSpec, *, restoring: bool) -> Iterator[UnitOutcome]:
    """The whole build in plain Python; a record that kills its reader ends it each time, only actors outlive that."""
    generator = load_generator(plan)
    engine = start_engine(generator)
    shards = {shard.name: shard for shard in list_shards(spec.source.path, spec.source.format)}
    publish = restore if restoring else commit
    for unit in units:
        try:
            if unit.shard not in shards:
                raise BuildError(f"unit {unit.name}: condition shard {unit.shard} is gone from the source")
            result = generate_unit(generator, unit, shards[unit.shard], engine.run)
            publish(spec.output.path, unit, result.shard, result.record)
        except DentgenError as error:
            yield UnitOutcome(unit.id, 0, str(error))
        else:
            yield UnitOutcome(unit.id, len(result.record.samples))
