"""A parallel map over spawned processes on this machine."""

from __future__ import annotations

import multiprocessing.connection
import multiprocessing.resource_tracker
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: After SIGTERM; numerical libraries do not delay it.
_SECONDS_TO_END: Final = 3.0


def map_processes(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int | None = None
) -> Generator[Result, None, None]:
    """Yield the results of ``work`` in the order of ``items``; one item or one worker runs in this process.

    A map that ends early, by an exception, by Ctrl-C or because it is closed, ends its processes.

    Args:
        work: A picklable function that may be killed at any point.
        items: Its arguments.
        workers: Maximum number of processes; None uses all cores.

    Raises:
        Exception: The first exception of ``work`` in the order of ``items``.
    """
    processes = min(len(items), workers or os.cpu_count() or 1)
    if processes <= 1:
        yield from map(work, items)
        return
    context = _RecordingContext()
    pool = ProcessPoolExecutor(processes, mp_context=context)
    try:
        for future in _submit(pool, work, items):
            yield future.result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        _end(context.started)
        raise
    pool.shutdown()


class _RecordingContext(SpawnContext):
    """A spawn context that knows the processes that it started."""

    def __init__(self) -> None:
        self.started: list[SpawnProcess] = []

    def Process(self, *arguments: Any, **settings: Any) -> SpawnProcess:  # type: ignore[override]  # noqa: N802
        """What a pool calls to start a worker."""
        process = SpawnProcess(*arguments, **settings)
        self.started.append(process)
        return process


def _submit(pool: ProcessPoolExecutor, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Future[Result]]:
    """Submit all items; the pool starts its processes meanwhile."""
    multiprocessing.resource_tracker.ensure_running()  # its start unblocks what is blocked here
    with _blocked_interrupt():
        return [pool.submit(work, item) for item in items]


@contextmanager
def _blocked_interrupt() -> Iterator[None]:
    """Start processes that never see Ctrl-C, which a terminal sends to all of them: this process ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(processes: Sequence[SpawnProcess]) -> None:
    """Return once all processes have ended and their exit codes are known."""
    for process in processes:
        process.terminate()
    for process in _alive_after(_SECONDS_TO_END, processes):
        process.kill()
    _alive_after(_SECONDS_TO_END, processes)
    # The pool's thread waits for the same processes; who comes second is told nothing until the first has noted
    # the exit code.
    deadline = time.monotonic() + _SECONDS_TO_END
    while any(process.exitcode is None for process in processes) and time.monotonic() < deadline:
        time.sleep(0.001)


def _alive_after(seconds: float, processes: Sequence[SpawnProcess]) -> list[SpawnProcess]:
    """The processes that have not ended within that time; their exit codes are left to others."""
    deadline = time.monotonic() + seconds
    alive = {process.sentinel: process for process in processes}
    while alive and (remaining := deadline - time.monotonic()) > 0:
        for sentinel in multiprocessing.connection.wait(list(alive), remaining):
            del alive[sentinel]  # type: ignore[arg-type]
    return list(alive.values())
