"""A parallel map over spawned processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_processes(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int | None = None
) -> Iterator[Result]:
    """Yield the results of ``work`` in the order of ``items``; one item or one worker runs in this process.

    Args:
        work: A picklable function.
        items: Its arguments.
        workers: Maximum number of processes; None uses all cores.

    Raises:
        Exception: The first exception of ``work`` in the order of ``items``; items not started by then are cancelled.
    """
    processes = min(len(items), workers or os.cpu_count() or 1)
    if processes <= 1:
        yield from map(work, items)
        return
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
    pending = [pool.submit(work, item) for item in items]
    try:
        for future in pending:
            yield future.result()
    finally:
        for future in pending:  # shutdown's cancel_futures has no effect once the pool is garbage collected
            future.cancel()
        pool.shutdown(wait=False)
