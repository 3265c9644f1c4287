"""A build in Ray: a pool of actors generates units, tasks commit them, a watchdog restarts what hangs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import ray

from dentgen import storage
from dentgen.documents import Unit
from dentgen.errors import BuildError
from dentgen.parallel.ray_session import for_workers, ray_session, require_lasting, starts_ray
from dentgen.pipeline.actors.commit_stage import Claims, UnitOutcome
from dentgen.pipeline.actors.dispatch import Dispatcher
from dentgen.pipeline.actors.engine_backend import EngineBackend
from dentgen.pipeline.actors.heartbeat import ActorReport, Watchdog
from dentgen.pipeline.actors.placement import Reservation, living_nodes
from dentgen.pipeline.actors.pool import ActorPool
from dentgen.pipeline.actors.unit_maker import UNITS_AT_ONCE, UnitBackend, UnitMaker
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.shards.unit_table import UnitTable
from dentgen.spec.build import BuildSpec, Fill, PipelineSpec

_LOG = logging.getLogger(__name__)

#: Units that wait in front of an actor, so that it need not wait for the scheduler; no other actor can take them.
_QUEUED: Final = 2


@dataclass(frozen=True, slots=True)
class Workers:
    """The Ray actors of a build; they decide no bytes.

    Attributes:
        address: Ray cluster to join; None: that of ``RAY_ADDRESS``, or a new one on this machine.
        settings: Number of actors, timeouts, packers; not those of the plan, because a resumed build may change them.
        fill: How units share an engine; None: as the plan says.
        backend: Generates units inside an actor; benchmarks replace it.
    """

    address: str | None = None
    settings: PipelineSpec = field(default_factory=PipelineSpec)
    fill: Fill | None = None
    backend: Callable[[Plan, BuildLocation], UnitBackend] = EngineBackend


def make_with_ray(
    plan: Plan,
    units: Sequence[Unit],
    location: BuildLocation,
    workers: Workers,
    *,
    claims: Claims | None = None,
    collect: Callable[[Iterator[UnitOutcome]], None],
) -> tuple[ActorReport, ...]:
    """Generate and commit units in Ray.

    Args:
        plan: The plan.
        units: Units to generate.
        location: Where source and output are now.
        workers: The actors.
        claims: Of units that were committed before, what is known of their bytes; only those are put back.
        collect: Takes the outcome of every unit.

    Returns:
        What every actor did.

    Raises:
        SpecError: If a submitted job would write into its temporary working directory, or no actor ever finds a place.
        BuildError: If the actors cannot continue.
    """
    require_lasting("output.path", location.output)
    bundle = for_workers(location.bundle) if Path(location.bundle).is_dir() else location.bundle
    location = BuildLocation(for_workers(location.source), for_workers(location.output), bundle)
    alone = starts_ray(workers.address)
    with (
        build_session(plan.spec, workers.address),
        Watchdog(workers.settings.stall_seconds) as watchdog,
    ):
        _warn_of_local_paths(location)
        try:
            making = dispatcher(plan, units, location, workers, watchdog, claims, alone=alone)
            with closing(making.outcomes()) as outcomes:  # actors have to end before Ray does
                collect(outcomes)
        except ray.exceptions.RayError as error:
            _LOG.error("Ray failed: %s", error)
            raise BuildError(
                watchdog.failure or _cause(error), advice="committed units stay, a second run resumes"
            ) from error
    reports = tuple(ActorReport(beat, watchdog.startup.get(place)) for place, beat in watchdog.last.items())
    for report in reports:
        _LOG.info("%s", report)
    return reports


def build_session(spec: BuildSpec, address: str | None = None) -> AbstractContextManager[None]:
    """A Ray session whose workers run with the spec's number of threads."""
    return ray_session(address, {"OMP_NUM_THREADS": str(spec.engine.threads)})


def dispatcher(
    plan: Plan,
    units: Sequence[Unit],
    location: BuildLocation,
    workers: Workers,
    watchdog: Watchdog,
    claims: Claims | None = None,
    *,
    alone: bool = False,
) -> Dispatcher:
    """What makes and commits units, with a pool of which no actor is started yet.

    Args:
        plan: The plan.
        units: Units to generate.
        location: Where source and output are, as workers reach them.
        workers: The actors.
        watchdog: Receives their heartbeats.
        claims: As for ``make_with_ray``.
        alone: Whether no other node joins.

    Raises:
        SpecError: If actors would reserve no GPU for a build on GPUs, or no actor ever finds a place.
    """
    settings, nodes = workers.settings, living_nodes()
    reservation = Reservation.of(settings, plan.environment["device"], nodes)
    if alone:
        reservation.require_room(nodes)
    actor: Any = ray.remote(UnitMaker).options(
        num_cpus=reservation.cpus,
        num_gpus=reservation.gpus,
        max_concurrency=UNITS_AT_ONCE,
        max_restarts=-1,
        allow_out_of_order_execution=True,
        scheduling_strategy="SPREAD",
    )
    start = partial(actor.remote, _for_actors(plan, workers), location, watchdog.monitor, workers.backend)
    forget, limits = watchdog.monitor.forget.remote, (settings.fewest_actors, settings.most_actors)
    pool = ActorPool(start, forget, reservation, *limits, UNITS_AT_ONCE + _QUEUED)
    return Dispatcher(units, pool, location.output, claims)


def _for_actors(plan: Plan, workers: Workers) -> Plan:
    """The plan without its units, with what may change from run to run as it is in this one."""
    engine = plan.spec.engine.model_copy(update={"fill": workers.fill or plan.spec.engine.fill})
    spec = plan.spec.model_copy(update={"engine": engine, "pipeline": workers.settings})
    return replace(plan, spec=spec, units=UnitTable.of(()))


def _warn_of_local_paths(location: BuildLocation) -> None:
    paths = [path for path in (location.source, location.output) if not storage.is_remote(path)]
    nodes = sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
    if paths and nodes > 1:
        _LOG.warning("%d nodes: %s must be on a file system that all of them share", nodes, " and ".join(paths))


def _cause(error: ray.exceptions.RayError) -> str:
    """The last line of Ray's message is the cause, the lines before it are traces."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"the Ray actors cannot continue: {lines[-1]}"
