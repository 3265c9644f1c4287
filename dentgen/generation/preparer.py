"""A thread that works ahead of an engine: what the next samples need is ready before their slots are free."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self, TypeVar

import torch

from dentgen.generation.threads import torch_threads

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Groups in preparation or ready, behind the one that is being taken. More would only take memory.
_GROUPS_AHEAD: Final = 1


class Preparer:
    """One thread that prepares groups of samples in order, at most one group ahead of the one that is being taken.

    Networks that it calls run with as many torch threads as the engine's, so bits do not depend on who calls them. A
    context manager: on leaving, work that has not begun is dropped, and the thread has ended.
    """

    def __init__(self, threads: int) -> None:
        """Start the thread.

        Args:
            threads: torch's threads in it; the caller's number is left alone.
        """
        with torch_threads(threads):  # a new thread takes over the number that is set when it first uses torch
            self._pool = ThreadPoolExecutor(1, "dentgen-preparer")
            self._pool.submit(torch.get_num_threads).result()

    def __enter__(self) -> Self:
        """Return the preparer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Drop what has not begun, and wait for the rest."""
        self._pool.shutdown(cancel_futures=True)

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Run ``work`` after what was asked for before."""
        return self._pool.submit(work)

    def ahead(self, work: Callable[[Item], Sequence[Result]], items: Iterable[Item]) -> Iterator[Result]:
        """Results of ``work`` on every item, in order, each item's prepared while those before it are taken.

        Args:
            work: Called on the preparer's thread, with one item at a time.
            items: Read on the caller's thread as there is room.

        Yields:
            The results, one by one. An exception of ``work`` is raised in place of its first result.
        """
        pending: deque[Future[Sequence[Result]]] = deque()
        for item in items:
            pending.append(self._pool.submit(work, item))
            if len(pending) > _GROUPS_AHEAD:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
