"""A build in Ray, whoever hands out its units: session, actors' arguments, watchdog, metrics, and what ends it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray

from dentgen import storage
from dentgen.documents.units import Unit
from dentgen.errors import BuildError
from dentgen.logs import log_format
from dentgen.parallel.ray_session import for_workers, ray_session, require_lasting, starts_ray
from dentgen.pipeline.actors.actor_work import UnitBackend
from dentgen.pipeline.actors.commit_stage import Claims
from dentgen.pipeline.actors.engine_backend import EngineBackend
from dentgen.pipeline.actors.metrics import BuildMetrics
from dentgen.pipeline.actors.placement import Reservation, living_nodes
from dentgen.pipeline.actors.watchdog import ActorReport, Watchdog
from dentgen.pipeline.tally import Tally
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.lease import Lease
from dentgen.shards.plan import BuildLocation, Plan
from dentgen.shards.unit_table import UnitTable
from dentgen.spec.build import BuildSpec
from dentgen.spec.pipeline import Fill, PipelineSpec

_LOG = logging.getLogger(__name__)


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

    def reservation(self, plan: Plan) -> Reservation:
        """What each of them reserves on the cluster as it is now.

        Raises:
            SpecError: If they would reserve no GPU for a build on GPUs.
        """
        return Reservation.of(self.settings, plan.environment["device"], living_nodes())

    def arguments(self, plan: Plan, location: BuildLocation, monitor: str) -> tuple[Any, ...]:
        """What ``ActorWork`` starts with, without a name."""
        return self._for_actors(plan), location, monitor, self.backend, log_format()

    def _for_actors(self, plan: Plan) -> Plan:
        """The plan without its units, with what may change from run to run as it is in this one."""
        engine = plan.spec.engine.model_copy(update={"fill": self.fill or plan.spec.engine.fill})
        spec = plan.spec.model_copy(update={"engine": engine, "pipeline": self.settings})
        return replace(plan, spec=spec, units=UnitTable.of(()))


@dataclass(frozen=True, slots=True)
class Job:
    """Units to make and commit within a Ray session.

    Attributes:
        plan: The plan.
        units: Units to generate.
        location: Where source and output are, as workers reach them.
        workers: The actors.
        monitor: Name of the actor that receives heartbeats.
        claims: As for ``make_with_ray``.
    """

    plan: Plan
    units: Sequence[Unit]
    location: BuildLocation
    workers: Workers
    monitor: str
    claims: Claims | None = None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What ``ActorWork`` starts with, without a name."""
        return self.workers.arguments(self.plan, self.location, self.monitor)


#: Hands the units of a job to actors, and yields what becomes of each.
HandOut = Callable[[Job], Generator[UnitOutcome, None, None]]


def make_with_ray(
    plan: Plan,
    units: Sequence[Unit],
    location: BuildLocation,
    workers: Workers,
    making: HandOut,
    *,
    claims: Claims | None = None,
    lease: Lease | None = None,
    tally: Tally | None = None,
    collect: Callable[[Iterator[UnitOutcome]], None],
) -> tuple[ActorReport, ...]:
    """Generate and commit units in Ray.

    Args:
        plan: The plan.
        units: Units to generate.
        location: Where source and output are now.
        workers: The actors.
        making: Hands units to them: ``make_with_dataset`` or ``make_with_pool``.
        claims: Of units that were committed before, what is known of their bytes; only those are put back.
        lease: Of the output; its renewals are counted.
        tally: Asks how many actors are alive, while there are any.
        collect: Takes the outcome of every unit.

    Returns:
        What every actor did.

    Raises:
        SpecError: If a submitted job would write into its temporary working directory, or no actor ever finds a place.
        BuildError: If the actors cannot continue.
    """
    require_lasting("output.path", location.output)
    location = _for_all_workers(location)
    alone = starts_ray(workers.address)
    with build_session(plan.spec, workers.address), Watchdog(workers.settings.stall_seconds) as watchdog:
        _warn_of_local_paths(location)
        if alone:
            workers.reservation(plan).require_room(living_nodes())
        metrics = BuildMetrics(plan.planned)
        job = Job(plan, units, location, workers, watchdog.monitor, claims)
        try:
            with (
                # it has to end before Ray does
                closing(making(job)) as outcomes,
                _watched(lease, tally, metrics, watchdog),
            ):
                collect(metrics.counting(outcomes))
        except ray.exceptions.RayError as error:
            _LOG.error("Ray failed: %s", error)
            raise BuildError(
                watchdog.failure or _cause(error), advice="committed units stay, a second run resumes"
            ) from error
    return _reports(watchdog)


def build_session(spec: BuildSpec, address: str | None = None) -> AbstractContextManager[None]:
    """A Ray session whose workers run with the spec's number of threads."""
    return ray_session(address, {"OMP_NUM_THREADS": str(spec.engine.threads)})


@contextmanager
def _watched(lease: Lease | None, tally: Tally | None, metrics: BuildMetrics, watchdog: Watchdog) -> Iterator[None]:
    """Within the block, planned samples are told, renewals of the lease counted, and a tally knows living actors."""
    watchdog.on_look = metrics.running
    if lease is not None:
        lease.on_renewal = metrics.renewed
    if tally is not None:
        tally.actors = lambda: watchdog.alive
    try:
        yield
    finally:
        watchdog.on_look = lambda: None
        if lease is not None:
            lease.on_renewal = lambda: None
        if tally is not None:
            tally.actors = lambda: 0


def _reports(watchdog: Watchdog) -> tuple[ActorReport, ...]:
    """What every actor did, also told to the log."""
    reports = tuple(ActorReport(beat, watchdog.startup.get(place)) for place, beat in watchdog.last.items())
    for report in reports:
        _LOG.info("%s", report)
    return reports


def _for_all_workers(location: BuildLocation) -> BuildLocation:
    """The same places, as processes with another working directory find them; names stay."""
    models = [for_workers(place) if Path(place).is_dir() else place for place in (location.bundle, location.judges)]
    return BuildLocation(for_workers(location.source), for_workers(location.output), *models)


def _warn_of_local_paths(location: BuildLocation) -> None:
    paths = [path for path in (location.source, location.output) if not storage.is_remote(path)]
    nodes = len(living_nodes())
    if paths and nodes > 1:
        _LOG.warning("%d nodes: %s must be on a file system that all of them share", nodes, " and ".join(paths))


def _cause(error: ray.exceptions.RayError) -> str:
    """The last line of Ray's message is the cause, the lines before it are traces."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"the Ray actors cannot continue: {lines[-1]}"
