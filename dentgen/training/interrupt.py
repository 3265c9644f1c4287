"""Deferred Ctrl-C: a loop decides where it stops, between two steps instead of in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

Handler = Callable[[int, FrameType | None], object]


class Interrupt:
    """Whether the process was asked to stop, and by which signal."""

    def __init__(self) -> None:
        """Nothing was asked for."""
        self._received: int | None = None
        self._before: dict[int, Handler] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal was received."""
        return self._received is not None

    def replace(self, number: int) -> None:
        """Defer a signal that somebody handles; one that ends the process at once keeps doing so."""
        handler = signal.getsignal(number)
        if callable(handler):
            self._before[number] = handler
            signal.signal(number, self._request)

    def restore(self) -> None:
        """Put back the handlers before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def stop(self) -> NoReturn:
        """Do what the signal does when it is not deferred.

        Raises:
            KeyboardInterrupt: Or whatever the handler before raises.
        """
        number = self._received or signal.SIGINT
        if number in self._before:
            self._before[number](number, None)
        raise KeyboardInterrupt

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            self._before[number](number, frame)
        self._received = number


@contextmanager
def deferred_interrupt() -> Iterator[Interrupt]:
    """Within the block, the first SIGINT or SIGTERM only sets ``requested``; a second one acts as without the block.

    Only the main thread can handle signals; elsewhere nothing is deferred.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        interrupt.replace(number)
    try:
        yield interrupt
    finally:
        interrupt.restore()
