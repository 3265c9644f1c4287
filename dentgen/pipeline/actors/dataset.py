"""A fixed number of actors: units are rows of a Ray Dataset, which actors of Ray Data map and tasks commit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, cast

import ray.data

from dentgen.documents import Unit
from dentgen.logs import log_format
from dentgen.pipeline.actors.actor_work import QUEUED, UNITS_AT_ONCE
from dentgen.pipeline.actors.commit_stage import Claims, commit_made, outcome_of
from dentgen.pipeline.actors.unit_maker import UnitMaker
from dentgen.pipeline.actors.unit_rows import unit_rows
from dentgen.pipeline.actors.workers import Workers
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.plan import BuildLocation, Plan


def make_with_dataset(
    plan: Plan,
    units: Sequence[Unit],
    location: BuildLocation,
    workers: Workers,
    monitor: Any,
    claims: Claims | None,
) -> Generator[UnitOutcome, None, None]:
    """Yield the outcome of every unit as Ray Data makes and commits it; arguments are those of ``unit_dataset``.

    Raises:
        ray.exceptions.RayError: If the Dataset ends.
    """
    with _quiet_ray_data():
        yield from _outcomes(unit_dataset(plan, units, location, workers, monitor, claims))


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

    Raises:
        SpecError: If actors would reserve no GPU for a build on GPUs.
    """
    reservation = workers.reservation(plan)
    made = unit_rows(units).map_batches(
        UnitMaker,
        fn_constructor_args=workers.arguments(plan, location, monitor),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            size=workers.settings.most_actors,
            max_tasks_in_flight_per_actor=UNITS_AT_ONCE + QUEUED,
            max_concurrent_calls_per_actor=UNITS_AT_ONCE,
        ),
        num_cpus=reservation.cpus,
        num_gpus=reservation.gpus,
    )
    committing: Callable[..., Any] = commit_made
    arguments = {"out": location.output, "claims": claims, "log_format": log_format()}
    return made.map_batches(committing, fn_kwargs=arguments, batch_size=1, num_cpus=0.25)


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


def _outcomes(dataset: ray.data.Dataset) -> Generator[UnitOutcome, None, None]:
    rows = cast("Generator[dict[str, Any], None, None]", iter(dataset.iter_rows()))
    with closing(rows):
        for row in rows:
            yield outcome_of(row)
