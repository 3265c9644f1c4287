"""Units of a plan generated and committed, by Ray actors or one after the other in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from dentgen.conditions.readers.source import list_shards
from dentgen.documents.units import Unit, unit_name
from dentgen.errors import BuildError, DentgenError
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import load_planned_generator
from dentgen.generation.threads import torch_threads
from dentgen.generation.unit import generate_unit
from dentgen.logs import log_context
from dentgen.models.bundle import Bundle
from dentgen.pipeline.actors.commit_stage import Claims, publish
from dentgen.pipeline.actors.dataset import make_with_dataset
from dentgen.pipeline.actors.elastic import make_with_pool
from dentgen.pipeline.actors.watchdog import ActorReport
from dentgen.pipeline.actors.workers import Workers, make_with_ray
from dentgen.pipeline.tally import Tally
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.lease import Lease
from dentgen.shards.plan import BuildLocation, Plan

_LOG = logging.getLogger(__name__)


def make_units(
    plan: Plan,
    units: Sequence[Unit],
    location: BuildLocation,
    workers: Workers | None,
    lease: Lease,
    *,
    claims: Claims | None = None,
    tally: Tally | None = None,
    progress: Callable[[int], None] = lambda _: None,
    loaded: Bundle | None = None,
) -> tuple[ActorReport, ...]:
    """Generate units and commit them.

    Args:
        plan: The plan of record.
        units: Units to generate.
        location: Where source and output are now.
        workers: Ray actors; None: one unit after the other in this process.
        lease: Held for the output; work ends when it is lost.
        claims: Of units that were committed before, what is known of their bytes; only those are put back.
        tally: Adds up what is done.
        progress: Called after every unit with the samples done so far.
        loaded: Networks that this process has loaded; read without Ray.

    Returns:
        What every Ray actor did.

    Raises:
        BuildError: If units failed; the others are committed. If the lease was lost.
    """
    if not units:
        return ()

    tally = tally or Tally()

    def collect(outcomes: Iterator[UnitOutcome]) -> None:
        _collect(_added(outcomes, tally), len(units), lease, progress)

    if workers is None:
        with torch_threads(plan.spec.engine.threads):
            collect(_make_in_process(plan.at(location), units, location, claims, loaded))
        return ()
    # a fixed number is Ray Data's; its own pools of a range do not follow a cluster that grows
    making = make_with_dataset if isinstance(workers.settings.actors, int) else make_with_pool
    return make_with_ray(
        plan, units, location, workers, making, claims=claims, lease=lease, tally=tally, collect=collect
    )


def _added(outcomes: Iterator[UnitOutcome], tally: Tally) -> Iterator[UnitOutcome]:
    for outcome in outcomes:
        tally.add(outcome)
        yield outcome


def _collect(outcomes: Iterator[UnitOutcome], count: int, lease: Lease, progress: Callable[[int], None]) -> None:
    """Count what is committed, continue past failed units and name them at the end; stop if the lease is lost."""
    failures: list[str] = []
    samples = 0
    for outcome in outcomes:
        if outcome.error:
            failures.append(f"unit {outcome.unit:06d}: {outcome.error}")
            _LOG.error(failures[-1], extra={"unit": unit_name(outcome.unit)})
        if outcome.fatal:
            raise BuildError(failures[-1], advice="the build stopped there; committed units stay, a second run resumes")
        samples += outcome.samples
        progress(samples)
        lease.check()
    if failures:
        raise BuildError(
            f"{len(failures)} of {count} units failed, first {failures[0]}", advice="a second run tries them again"
        )


def _make_in_process(
    plan: Plan, units: Sequence[Unit], location: BuildLocation, claims: Claims | None, loaded: Bundle | None
) -> Iterator[UnitOutcome]:
    """Generate units one after the other in plain Python."""
    generator = load_planned_generator(plan, loaded)
    engine = start_engine(generator)
    shards = {shard.name: shard for shard in list_shards(location.source, plan.spec.source.format, log=False)}
    for unit in units:
        try:
            if unit.shard not in shards:
                raise BuildError(file=location.source, found=f"no condition shard {unit.shard}", expected="it there")
            with log_context(unit=unit.name, attempt=1):
                made = generate_unit(plan, generator, unit, shards[unit.shard], engine.run)
                put = partial(publish, location.output, made.shard, made.record, claims)
                outcome = UnitOutcome.of(made.record, put)
        except DentgenError as error:
            outcome = UnitOutcome(unit.id, 0, str(error))
        yield outcome
