"""A range of actors: a pool of plain Ray actors that grows and shrinks with the cluster, and tasks that commit."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

import ray

from dentgen.documents import Unit
from dentgen.logs import log_format
from dentgen.pipeline.actors.actor_work import QUEUED, UNITS_AT_ONCE
from dentgen.pipeline.actors.commit_stage import Claims
from dentgen.pipeline.actors.dispatch import Dispatcher
from dentgen.pipeline.actors.pool import ActorPool
from dentgen.pipeline.actors.pool_actor import PoolActor
from dentgen.pipeline.actors.workers import Workers
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.plan import BuildLocation, Plan


def make_with_pool(
    plan: Plan,
    units: Sequence[Unit],
    location: BuildLocation,
    workers: Workers,
    monitor: Any,
    claims: Claims | None,
) -> Generator[UnitOutcome, None, None]:
    """Yield the outcome of every unit as the pool makes and tasks commit it; arguments are those of ``dispatcher``.

    Raises:
        ray.exceptions.RayError: If an actor cannot be started, or will not be started again.
    """
    return dispatcher(plan, units, location, workers, monitor, claims).outcomes()


def dispatcher(
    plan: Plan,
    units: Sequence[Unit],
    location: BuildLocation,
    workers: Workers,
    monitor: Any,
    claims: Claims | None = None,
) -> Dispatcher:
    """What makes and commits units, with a pool of which no actor is started yet.

    Args:
        plan: The plan.
        units: Units to generate.
        location: Where source and output are, as workers reach them.
        workers: The actors.
        monitor: The actor that receives heartbeats.
        claims: As for ``make_with_ray``.

    Raises:
        SpecError: If actors would reserve no GPU for a build on GPUs.
    """
    settings, reservation = workers.settings, workers.reservation(plan)
    actor: Any = ray.remote(PoolActor).options(
        num_cpus=reservation.cpus,
        num_gpus=reservation.gpus,
        max_concurrency=UNITS_AT_ONCE,
        max_restarts=-1,
        allow_out_of_order_execution=True,
        scheduling_strategy="SPREAD",
    )
    start = partial(actor.remote, *workers.arguments(plan, location, monitor))
    limits = settings.fewest_actors, settings.most_actors
    forget, dismiss = monitor.forget.remote, monitor.dismiss.remote
    pool = ActorPool(start, forget, dismiss, reservation, *limits, UNITS_AT_ONCE + QUEUED)
    return Dispatcher(units, pool, location.output, claims, log_format())
