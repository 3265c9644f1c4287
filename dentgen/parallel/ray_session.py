"""Ray sessions that stop what they started, a parallel map over a cluster, and paths as its nodes see them."""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

import ray

from dentgen import storage
from dentgen.errors import BuildError, SpecError

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Ray sets it in the driver of a submitted job.
_JOB: Final = "RAY_JOB_CONFIG_JSON_ENV_VAR"
_WORDS: Final = frozenset({"local", "auto"})
_CONNECT_SECONDS: Final = 5.0
#: Of the folder in which Ray puts ``ray/session_DATE_TIME_PROCESS/sockets/plasma_store``.
_MOST_BYTES: Final = 40
#: Ray warns in every worker without a GPU that it will stop hiding GPUs from them, transformers of what nobody uses.
_QUIET_WORKERS: Final = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "TRANSFORMERS_VERBOSITY": "error"}

_LOG = logging.getLogger(__name__)


@contextmanager
def ray_session(address: str | None = None, variables: Mapping[str, str] | None = None) -> Iterator[None]:
    """Connect to Ray for the duration of the block; an existing connection is used and left open.

    Args:
        address: Cluster to join; None joins the one in ``RAY_ADDRESS`` or starts one on this machine.
        variables: Environment variables of the workers; ignored if this process is already connected.

    Raises:
        SpecError: If nobody listens at the address.
        BuildError: If Ray cannot be started or joined.
    """
    if ray.is_initialized():
        yield
        return
    address = _chosen(address)
    require_reachable(address)
    _LOG.info("Ray: %s", "starting on this machine" if address == "local" else f"joining the cluster at {address}")
    try:
        with short_temporary_folder() as folder:
            _connect(address, variables or {}, folder if address == "local" else None)
            try:
                yield
            finally:
                ray.shutdown()  # before its folder is removed
    except BaseException:
        ray.shutdown()  # of a start that was interrupted
        raise


def starts_ray(address: str | None) -> bool:
    """Whether ``ray_session`` would start a Ray of its own, which no other machine joins."""
    return not ray.is_initialized() and _chosen(address) == "local"


def _chosen(address: str | None) -> str:
    return address or os.environ.get("RAY_ADDRESS", "local")  # Ray's default joins any cluster that runs here


def _connect(address: str, variables: Mapping[str, str], folder: str | None) -> None:
    try:
        with _kept_handlers():
            ray.init(
                address=address,
                runtime_env={"env_vars": {**_QUIET_WORKERS, **variables}},
                logging_level=logging.ERROR,
                include_dashboard=False if address == "local" else None,
                _temp_dir=folder,
            )
    except Exception as error:
        cause = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
        raise BuildError(
            f"Ray cannot be {'started on this machine' if address == 'local' else f'joined at {address}'}: {cause}",
            advice="without Ray, --no-ray generates in this process",
        ) from error


def require_reachable(address: str) -> None:
    """Check that somebody listens at a cluster's address; Ray itself would try for minutes.

    Args:
        address: ``HOST:PORT``, ``ray://HOST:PORT``, or a word of Ray's such as ``auto``.

    Raises:
        SpecError: If nobody does.
    """
    host, colon, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    if not colon:
        if address in _WORDS:
            return
        raise SpecError(key="address", found=address, expected="HOST:PORT, ray://HOST:PORT, local or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise SpecError(
            key="address", found=f"{address}: {error}", expected="a Ray cluster that can be reached"
        ) from error


@contextmanager
def short_temporary_folder() -> Iterator[str | None]:
    """A folder for a local Ray, None if its default will do: the paths of its sockets may have 107 bytes."""
    default = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(default.encode()) <= _MOST_BYTES:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield folder


@contextmanager
def _kept_handlers() -> Iterator[None]:
    """Put back the handler of SIGTERM, which ``ray.init`` replaces by one that exits with code 15."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as ended:
        signal.signal(signal.SIGTERM, before)
        if ended.code == signal.SIGTERM:
            signal.raise_signal(signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def map_cluster(
    work: Callable[[Item], Result], items: Sequence[Item], address: str | None
) -> Generator[Result, None, None]:
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
        try:
            while waiting:
                done, waiting = ray.wait(waiting)
                yield ray.get(done[0])
        finally:
            for left in waiting:  # a cluster would go on without us
                ray.cancel(left, force=True)


def in_submitted_job() -> bool:
    """Whether this process is the driver of a ``ray job submit``."""
    return _JOB in os.environ


def is_relative(place: str) -> bool:
    """Whether a path depends on the working directory."""
    return not storage.is_remote(place) and not storage.expanded(place).startswith("/")


def for_workers(place: str) -> str:
    """A place as workers find it, whose working directories and home folders are other ones.

    In a submitted job a relative path stays relative: every node has its own copy of the working directory.
    """
    return storage.expanded(place) if in_submitted_job() else storage.absolute(place)


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
