"""A Ray session: join the cluster that is asked for, or start Ray here and stop it afterwards."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import ray

from dentgen import storage
from dentgen.errors import SpecError

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Set by Ray in the driver of a submitted job.
_JOB: Final = "RAY_JOB_CONFIG_JSON_ENV_VAR"


@contextmanager
def ray_session(address: str | None = None, variables: Mapping[str, str] | None = None) -> Iterator[None]:
    """Use the Ray that this process is connected to, or connect for the time of the block.

    Args:
        address: Cluster to join; None: that of ``RAY_ADDRESS``, or a new one on this machine.
        variables: Environment of the workers, where this call connects.
    """
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS", "local")  # never whatever an earlier cluster left behind
    ray.init(
        address=address,
        runtime_env={"env_vars": dict(variables or {})},
        logging_level=logging.WARNING,
        include_dashboard=False if address == "local" else None,
    )
    try:
        yield
    finally:
        ray.shutdown()


def map_cluster(work: Callable[[Item], Result], items: Sequence[Item], address: str | None) -> Iterator[Result]:
    """Results of ``work`` as they come, one Ray task an item.

    A task that dies with its node is tried elsewhere, so ``work`` must be harmless if it runs twice.

    Args:
        work: A picklable function.
        items: Its arguments.
        address: Cluster to join, as for ``ray_session``.
    """
    with ray_session(address):
        task: Any = ray.remote(work.func if isinstance(work, partial) else work).options(num_cpus=1, max_retries=3)
        fixed, named = (work.args, work.keywords) if isinstance(work, partial) else ((), {})
        waiting = [task.remote(*fixed, item, **named) for item in items]
        while waiting:
            done, waiting = ray.wait(waiting)
            yield ray.get(done[0])


def in_submitted_job() -> bool:
    """Whether this process is the driver of a ``ray job submit``."""
    return _JOB in os.environ


def is_relative(place: str) -> bool:
    """Whether a place depends on the folder that a process stands in."""
    return not storage.is_remote(place) and not place.startswith(("/", "file://", "local://"))


def absolute(place: str) -> str:
    """A place as processes in other folders find it."""
    return str(Path(place).absolute()) if is_relative(place) else place


def require_lasting(key: str, place: str) -> None:
    """Refuse to write into the working directory of a submitted job, which is a temporary copy.

    Raises:
        SpecError: If ``place``, the value of the spec's ``key``, is there.
    """
    if in_submitted_job() and is_relative(place):
        raise SpecError(
            f"{key}: found {place!r}, which in a submitted job is a temporary copy of the working directory; "
            "expected a URL or an absolute path"
        )
