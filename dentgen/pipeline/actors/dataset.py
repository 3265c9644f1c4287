"""A build's units as a Ray Dataset: one row is one unit, an actor pool generates units, tasks commit them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, cast

import ray
import ray.data

from dentgen import storage
from dentgen.documents import Unit
from dentgen.errors import BuildError
from dentgen.logs import log_format
from dentgen.parallel.ray_session import for_workers, ray_session, require_lasting
from dentgen.pipeline.actors.commit_stage import Claims, commit_made, outcome_of
from dentgen.pipeline.actors.heartbeat import ActorReport, Watchdog
from dentgen.pipeline.actors.metrics import BuildMetrics
from dentgen.pipeline.actors.unit_maker import UNITS_AT_ONCE, EngineBackend, UnitBackend, UnitMaker
from dentgen.pipeline.actors.unit_rows import unit_rows
from dentgen.pipeline.tally import Tally
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.lease import Lease
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
        claims: Of units that were committed before, what is known of their bytes; only those are put back.
        lease: Of the output; its renewals are counted.
        tally: Asks how many actors are alive, while there are any.
        collect: Takes the outcome of every unit.

    Returns:
        What every actor did.

    Raises:
        SpecError: If a submitted job would write into its temporary working directory.
        BuildError: If the actors cannot continue.
    """
    require_lasting("output.path", location.output)
    bundle = for_workers(location.bundle) if Path(location.bundle).is_dir() else location.bundle
    location = BuildLocation(for_workers(location.source), for_workers(location.output), bundle)
    with (
        build_session(plan.spec, workers.address),
        _quiet_ray_data(),
        Watchdog(workers.settings.stall_seconds) as watchdog,
    ):
        _warn_of_local_paths(location)
        metrics = BuildMetrics(plan.planned)
        try:
            dataset = unit_dataset(plan, units, location, workers, watchdog.monitor, claims)
            with (
                closing(_outcomes(dataset)) as outcomes,  # the execution has to end before Ray does
                _watched(lease, tally, metrics, watchdog),
            ):
                collect(metrics.counting(outcomes))
        except ray.exceptions.RayError as error:
            _LOG.error("Ray failed: %s", error)
            raise BuildError(
                watchdog.failure or _cause(error), advice="committed units stay, a second run resumes"
            ) from error
    reports = tuple(ActorReport(beat, watchdog.startup.get(place)) for place, beat in watchdog.last.items())
    for report in reports:
        _LOG.info("%s", report)
    return reports


@contextmanager
def _watched(lease: Lease | None, tally: Tally | None, metrics: BuildMetrics, watchdog: Watchdog) -> Iterator[None]:
    """Within the block, renewals of the lease are counted, and a tally knows the actors that are alive."""
    if lease is not None:
        lease.on_renewal = metrics.renewed
    if tally is not None:
        tally.actors = lambda: watchdog.alive
    try:
        yield
    finally:
        if lease is not None:
            lease.on_renewal = lambda: None
        if tally is not None:
            tally.actors = lambda: 0


def build_session(spec: BuildSpec, address: str | None = None) -> AbstractContextManager[None]:
    """A Ray session whose workers run with the spec's number of threads."""
    return ray_session(address, {"OMP_NUM_THREADS": str(spec.engine.threads)})


def unit_dataset(
    plan: Plan,
    units: Sequence[Unit],
    location: BuildLocation,
    workers: Workers,
    monitor: Any,
    claims: Claims | None = None,
) -> ray.data.Dataset:
    """The Ray Dataset of a build: a row per unit, an async actor pool, commit tasks.

    Args:
        plan: The plan.
        units: Units to generate.
        location: Where source and output are, as workers reach them.
        workers: The actors.
        monitor: The actor that receives heartbeats.
        claims: As for ``make_with_ray``.
    """
    actors = workers.settings.actors
    on_gpu = plan.environment["device"] == "cuda"
    made = unit_rows(units).map_batches(
        UnitMaker,
        fn_constructor_args=(_for_actors(plan, workers), location, monitor, workers.backend, log_format()),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            size=actors,
            max_tasks_in_flight_per_actor=UNITS_AT_ONCE + _QUEUED,
            max_concurrent_calls_per_actor=UNITS_AT_ONCE,
        ),
        num_cpus=0 if on_gpu else _actor_cpus(actors),
        num_gpus=1 if on_gpu else 0,
    )
    committing: Callable[..., Any] = commit_made
    arguments = {"out": location.output, "claims": claims, "log_format": log_format()}
    return made.map_batches(committing, fn_kwargs=arguments, batch_size=1, num_cpus=0.25)


def _for_actors(plan: Plan, workers: Workers) -> Plan:
    """The plan without its units, with what may change from run to run as it is in this one."""
    engine = plan.spec.engine.model_copy(update={"fill": workers.fill or plan.spec.engine.fill})
    spec = plan.spec.model_copy(update={"engine": engine, "pipeline": workers.settings})
    return replace(plan, spec=spec, units=UnitTable.of(()))


@contextmanager
def _quiet_ray_data() -> Iterator[None]:
    """Stop at no errored block and print no progress of Ray's own, for the time of the build."""
    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    before = context.max_errored_blocks, context.enable_progress_bars, logger.level
    context.max_errored_blocks, context.enable_progress_bars = 0, False
    logger.setLevel(logging.ERROR)  # its warnings are about settings that are made on purpose
    try:
        yield
    finally:
        context.max_errored_blocks, context.enable_progress_bars = before[:2]
        logger.setLevel(before[2])


def _warn_of_local_paths(location: BuildLocation) -> None:
    paths = [path for path in (location.source, location.output) if not storage.is_remote(path)]
    nodes = sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
    if paths and nodes > 1:
        _LOG.warning("%d nodes: %s must be on a file system that all of them share", nodes, " and ".join(paths))


def _cause(error: ray.exceptions.RayError) -> str:
    """The last line of Ray's message is the cause, the lines before it are traces."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"the Ray actors cannot continue: {lines[-1]}"


def _outcomes(dataset: ray.data.Dataset) -> Generator[UnitOutcome, None, None]:
    rows = cast("Generator[dict[str, Any], None, None]", iter(dataset.iter_rows()))
    with closing(rows):
        for row in rows:
            yield outcome_of(row)


def _actor_cpus(actors: int) -> float:
    """CPUs that an actor reserves: one, or less where the actors would leave none to read and commit with."""
    available = float(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
    return min(1.0, max(0.0, available - 1) / actors)
