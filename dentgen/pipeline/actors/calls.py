"""Calls of Ray that are under way: thousands of them, of which the next ones to end are waited for again and again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

Event = TypeVar("Event")


class Calls(Generic[Event]):
    """Calls under way, and what each of them is about.

    Ray tells of every end once, by a callback. ``ray.wait`` looks at all calls that it is given, every time: a loop
    around it takes longer for each end the more actors there are.
    """

    def __init__(self) -> None:
        """Start without any."""
        self._events: dict[Any, Event] = {}
        self._over: SimpleQueue[tuple[Any, Future[Any]]] = SimpleQueue()

    def add(self, call: Any, event: Event) -> None:
        """Wait for a call, too."""
        self._events[call] = event
        call.future().add_done_callback(lambda future: self._over.put((call, future)))

    def ended(self, seconds: float) -> Iterator[tuple[Event, Future[Any]]]:
        """What ended since the last time, with its result or error; waits for the first one up to some seconds."""
        found = []
        with suppress(Empty):
            found.append(self._over.get(timeout=seconds))
            while True:
                found.append(self._over.get_nowait())
        for call, future in found:
            yield self._events.pop(call), future

    def __iter__(self) -> Iterator[tuple[Any, Event]]:
        """Calls whose end was not told yet, and what they are about."""
        return iter(list(self._events.items()))

    def __len__(self) -> int:
        """Their number."""
        return len(self._events)
