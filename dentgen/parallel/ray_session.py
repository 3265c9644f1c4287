"""Ray sessions that stop what they started, a parallel map over a cluster, and paths as its nodes see them."""

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

#: Ray sets it in the driver of a submitted job.
_JOB: Final = "RAY_JOB_CONFIG_JSON_ENV_VAR"


@contextmanager
def ray_session(address: str | None = None, variables: Mapping[str, str] | None = None) -> Iterator[None]:
    """Connect to Ray for the duration of the block; an existing connection is used and left open.

    Args:
        address: Cluster to join; None joins the one in ``RAY_ADDRESS`` or starts one on this machine.
        variables: Environment variables of the workers; ignored if this process is already connected.
    """
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS", "local")  # Ray's default joins any cluster that runs here
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
    """Yield the results of ``work`` as they complete, one Ray task per item.

    Ray retries a task whose node died up to three times, so ``work`` must be idempotent.

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
    """Whether a path depends on the working directory."""
    return not storage.is_remote(place) and not place.startswith(("/", "file://", "local://"))


def absolute(place: str) -> str:
    """A path that does not depend on the working directory; URLs are returned unchanged."""
    return str(Path(place).absolute()) if is_relative(place) else place


def require_lasting(key: str, place: str) -> None:
    """Refuse output paths inside the working directory of a submitted job, which Ray deletes afterwards.

    Args:
        key: Key of the spec that holds the path.
        place: The path or URL.

    Raises:
        SpecError: If this process drives a submitted job and the path is relative.
    """
    if in_submitted_job() and is_relative(place):
        raise SpecError(
            "in a submitted job a relative path lies in a temporary copy of the working directory",
            key=key,
            found=place,
            expected="a URL or an absolute path",
        )
