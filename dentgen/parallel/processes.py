"""Map a function over this machine's cores in spawned processes."""

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
    """Results of ``work`` in the order of ``items``; a single item, or a single worker, stays in this process.

    Args:
        work: A picklable function.
        items: Its arguments.
        workers: Processes at most; None uses all cores.

    Raises:
        Exception: Whatever ``work`` raised first, in the order of ``items``; what has not begun by then never does.
    """
    processes = min(len(items), workers or os.cpu_count() or 1)
    if processes <= 1:
        yield from map(work, items)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        pending = [pool.submit(work, item) for item in items]
        try:
            for future in pending:
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
