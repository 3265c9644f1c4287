"""A fixed number of actors: units are rows of a Ray Dataset, which actors of Ray Data map and tasks commit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, cast

import ray.data

from dentgen.logs import log_format
from dentgen.pipeline.actors.actor_work import QUEUED, UNITS_AT_ONCE
from dentgen.pipeline.actors.commit_stage import commit_made, outcome_of
from dentgen.pipeline.actors.unit_maker import UnitMaker
from dentgen.pipeline.actors.unit_rows import unit_rows
from dentgen.pipeline.actors.workers import Job
from dentgen.pipeline.unit_outcome import UnitOutcome


def make_with_dataset(job: Job) -> Generator[UnitOutcome, None, None]:
    """Yield the outcome of every unit as Ray Data makes and commits it.

    Raises:
        SpecError: As ``unit_dataset``.
        ray.exceptions.RayError: If the Dataset ends.
    """
    with _quiet_ray_data():
        yield from _outcomes(unit_dataset(job))


def unit_dataset(job: Job) -> ray.data.Dataset:
    """The Ray Dataset of a build: a row per unit, an async actor pool, commit tasks.

    Raises:
        SpecError: If actors would reserve no GPU for a build on GPUs.
    """
    reservation = job.workers.reservation(job.plan)
    made = unit_rows(job.units).map_batches(
        UnitMaker,
        fn_constructor_args=job.arguments,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            size=job.workers.settings.most_actors,
            max_tasks_in_flight_per_actor=UNITS_AT_ONCE + QUEUED,
            max_concurrent_calls_per_actor=UNITS_AT_ONCE,
        ),
        num_cpus=reservation.cpus,
        num_gpus=reservation.gpus,
    )
    committing: Callable[..., Any] = commit_made
    arguments = {"out": job.location.output, "claims": job.claims, "log_format": log_format()}
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
