"""A build's units through Ray Data: connect, lay out the Dataset, watch its actors.

One row is one unit; shards never follow Ray's blocks. Refuses to know what a unit is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import ray
import ray.data

from dentgen import storage
from dentgen.documents import Unit
from dentgen.errors import BuildError
from dentgen.parallel.ray_session import absolute, in_submitted_job, ray_session, require_lasting
from dentgen.pipeline.actors.commit_stage import UnitOutcome, commit_made
from dentgen.pipeline.actors.heartbeat import ActorReport, Watchdog
from dentgen.pipeline.actors.unit_maker import EngineBackend, UnitBackend, UnitMaker
from dentgen.pipeline.actors.unit_rows import unit_rows
from dentgen.shards.plan import Plan
from dentgen.spec.build import BuildSpec

_LOG = logging.getLogger(__name__)


def make_with_ray(
    plan: Plan,
    units: Sequence[Unit],
    spec: BuildSpec,
    address: str | None,
    *,
    restoring: bool,
    collect: Callable[[Iterator[UnitOutcome]], None],
    backend: Callable[[Plan], UnitBackend] = EngineBackend,
) -> tuple[ActorReport, ...]:
    """Make units in Ray actors.

    Args:
        plan: The plan, with the spec as the actors shall use it.
        units: Which of its units.
        spec: How work is spread, and where it goes.
        address: Ray cluster; None: the environment's, or a new one here.
        restoring: As for ``make_units``.
        collect: Takes what became of every unit.
        backend: Where every actor makes its units.

    Returns:
        What every actor did.

    Raises:
        BuildError: If the actors cannot go on.
    """
    require_lasting("output.path", spec.output.path)
    reachable = _reachable(BuildSpec.model_validate(plan.spec))
    plan = plan.model_copy(update={"spec": reachable.model_dump(mode="json")})
    with build_session(spec, address):
        _warn_of_local_places(spec)
        with Watchdog(spec.pipeline.stall_seconds) as watch:
            try:
                collect(_outcomes(unit_dataset(plan, units, spec, watch.pulse, restoring=restoring, backend=backend)))
            except ray.exceptions.RayError as error:
                _LOG.error("Ray says: %s", error)
                raise BuildError(watch.failure or _why(error)) from error
        reports = tuple(ActorReport(beat, watch.startup.get(place)) for place, beat in watch.last.items())
        for report in reports:
            _LOG.info("%s", report)
        return reports


def _why(error: ray.exceptions.RayError) -> str:
    """One line: the last one of what Ray says is the cause, what stands before it are traces."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"the Ray actors cannot go on: {lines[-1]}; what is committed stays, a second run goes on"


def build_session(spec: BuildSpec, address: str | None = None) -> AbstractContextManager[None]:
    """A Ray session whose workers run with the spec's number of threads."""
    variables = {"OMP_NUM_THREADS": str(spec.engine.threads), "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    return ray_session(address, variables)


def _warn_of_local_places(spec: BuildSpec) -> None:
    places = [place for place in (spec.source.path, spec.output.path) if not storage.is_remote(place)]
    nodes = sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
    if places and nodes > 1:
        _LOG.warning("%d nodes: %s must be on a file system that all of them share", nodes, " and ".join(places))


def _reachable(spec: BuildSpec) -> BuildSpec:
    """Local paths as other processes find them: workers of a cluster that runs already stand in another folder.

    In a submitted job they stand in a copy of the working directory, whose place differs from node to node.
    """
    if in_submitted_job():
        return spec
    source = spec.source.model_copy(update={"path": absolute(spec.source.path)})
    output = spec.output.model_copy(update={"path": absolute(spec.output.path)})
    return spec.model_copy(update={"source": source, "output": output})


def unit_dataset(
    plan: Plan,
    units: Sequence[Unit],
    spec: BuildSpec,
    pulse: Any,
    *,
    restoring: bool = False,
    backend: Callable[[Plan], UnitBackend] = EngineBackend,
) -> ray.data.Dataset:
    """The Ray Dataset of a build: a row a unit, an async actor pool, a commit task."""
    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = 0
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    on_gpu = plan.environment["device"] == "cuda"
    made = unit_rows(len(units)).map_batches(
        UnitMaker,
        fn_constructor_args=(plan.model_dump_json(), [unit.id for unit in units], pulse, backend),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            size=spec.pipeline.actors, max_tasks_in_flight_per_actor=4, max_concurrent_calls_per_actor=2
        ),
        num_cpus=0 if on_gpu else _actor_cpus(spec.pipeline.actors),
        num_gpus=1 if on_gpu else 0,
    )
    committing: Callable[..., Any] = commit_made
    arguments = {"out": str(plan.spec["output"]["path"]), "restoring": restoring}
    return made.map_batches(committing, fn_kwargs=arguments, batch_size=1, num_cpus=0.25)


def _outcomes(dataset: ray.data.Dataset) -> Iterator[UnitOutcome]:
    for row in dataset.iter_rows():
        yield UnitOutcome(int(row["unit"]), int(row["samples"]), str(row["error"]), bool(row["fatal"]))


def _actor_cpus(actors: int) -> float:
    """CPUs that an actor reserves: one, or less where the actors would leave none to read and commit with."""
    available = float(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
    return min(1.0, max(0.0, available - 1) / actors)
