"""A range of actors: a pool of plain Ray actors that grows and shrinks with the cluster, and tasks that commit."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final

import ray

from dentgen.logs import log_format
from dentgen.pipeline.actors.actor_work import QUEUED, UNITS_AT_ONCE
from dentgen.pipeline.actors.dispatch import Dispatcher
from dentgen.pipeline.actors.heartbeat import record_start
from dentgen.pipeline.actors.pool import ActorPool
from dentgen.pipeline.actors.pool_actor import PoolActor
from dentgen.pipeline.actors.workers import Job
from dentgen.pipeline.unit_outcome import UnitOutcome

#: How long the driver waits for the monitor: nothing is handed out meanwhile.
_RECORD_S: Final = 5.0


def make_with_pool(job: Job) -> Generator[UnitOutcome, None, None]:
    """Yield the outcome of every unit as the pool makes and tasks commit it.

    Raises:
        SpecError: As ``dispatcher``.
        ray.exceptions.RayError: If an actor cannot be started, or will not be started again.
    """
    return dispatcher(job).outcomes()


def dispatcher(job: Job, start: Callable[[str], Any] | None = None) -> Dispatcher:
    """What makes and commits units, with a pool of which no actor is started yet.

    Args:
        job: The units.
        start: Asks Ray for an actor, as of ``ActorPool``; None: for a process of its own.

    Raises:
        SpecError: If actors would reserve no GPU for a build on GPUs.
    """
    settings, reservation = job.workers.settings, job.workers.reservation(job.plan)
    actor: Any = ray.remote(PoolActor).options(
        num_cpus=reservation.cpus,
        num_gpus=reservation.gpus,
        max_concurrency=UNITS_AT_ONCE,
        max_restarts=-1,
        allow_out_of_order_execution=True,
        scheduling_strategy="SPREAD",
    )
    monitor = ray.get_actor(job.monitor)
    pool = ActorPool(
        start or partial(actor.remote, *job.arguments),
        monitor.forget.remote,
        monitor.dismiss.remote,
        reservation,
        settings.fewest_actors,
        settings.most_actors,
        UNITS_AT_ONCE + QUEUED,
    )
    started = partial(record_start, monitor, timeout_s=_RECORD_S)
    return Dispatcher(job.units, pool, job.location.output, job.claims, started, log_format())
