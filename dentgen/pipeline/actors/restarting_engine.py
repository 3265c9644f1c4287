"""An engine that is rebuilt once for every call that it dies under: what killed it may have passed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TypeVar

from dentgen.diffusion.canvas import Canvas, Sampled
from dentgen.diffusion.driver import EngineDriver
from dentgen.errors import EngineError
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import Generator
from dentgen.pipeline.actors.heartbeat import Beat

_LOG = logging.getLogger(__name__)

Result = TypeVar("Result")


class RestartingEngine:
    """An engine that several threads share and that survives its own death once per call."""

    def __init__(self, generator: Generator, *, drain_per_call: bool = False) -> None:
        """Start the first engine.

        Args:
            generator: Models and settings.
            drain_per_call: Sample the canvases of one ``run`` at a time; other work still overlaps with it.
        """
        self._generator = generator
        self._rebuilding = threading.Lock()
        self._takes_turns = drain_per_call
        self._turn: AbstractContextManager[object] = threading.Lock() if drain_per_call else nullcontext()
        self._driver = EngineDriver(start_engine(generator))

    @property
    def dead(self) -> bool:
        """Whether the current engine is dead."""
        return self._driver.dead

    @property
    def between_ticks(self) -> tuple[float, float]:
        """As of the current engine's driver."""
        return self._driver.between_ticks

    def run(self, canvases: Iterable[Canvas]) -> dict[str, Sampled]:
        """Sample canvases, which may still be in preparation.

        Calls that take turns prepare all of theirs first: who has the turn must not wait with empty slots, and what
        shares a tick must not depend on how fast canvases come.

        Raises:
            EngineError: If the engine died twice.
        """
        if self._takes_turns:
            canvases = list(canvases)
        again = canvases if isinstance(canvases, Sequence) else _Again(canvases)
        began = time.perf_counter() if self._takes_turns else None
        with self._turn:
            return self._retry(lambda driver: driver.run(again, began))

    def call(self, work: Callable[[], Result]) -> Result:
        """Run other work of the device in the engine's thread, between two ticks.

        Raises:
            EngineError: If the engine died twice.
        """
        return self._retry(lambda driver: driver.call(work))

    def describe(self, beat: Beat) -> Beat:
        """Add the engine's progress to a heartbeat."""
        driver = self._driver
        return replace(
            beat,
            busy_seconds=driver.busy_seconds + driver.tick_seconds,
            ticks=driver.ticks,
            longest_tick=driver.longest_tick,
            tick_seconds=driver.tick_seconds,
            slots_in_use=driver.slots_in_use,
        )

    def take_waits(self) -> list[float]:
        """As of the current engine's driver."""
        return self._driver.take_waits()

    def _retry(self, ask: Callable[[EngineDriver], Result]) -> Result:
        driver = self._driver  # another call may replace it while this one fails
        try:
            return ask(driver)
        except EngineError as error:
            if not driver.dead:
                raise
            _LOG.error("%s; starting a new engine", error)
        with self._rebuilding:
            if self._driver.dead:
                self._driver = EngineDriver(start_engine(self._generator))
            driver = self._driver
        return ask(driver)


class _Again:
    """Canvases that can be taken again from the first one on, by an engine that replaces a dead one."""

    def __init__(self, canvases: Iterable[Canvas]) -> None:
        self._remaining = iter(canvases)
        self._taken: list[Canvas] = []
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[Canvas]:
        """All of them; an error of preparing is raised every time, as a generator that raised looks exhausted."""
        yield from list(self._taken)
        while (canvas := self._next()) is not None:
            yield canvas

    def _next(self) -> Canvas | None:
        if self._error is not None:
            raise self._error
        try:
            canvas = next(self._remaining, None)
        except Exception as error:
            self._error = error
            raise
        if canvas is not None:
            self._taken.append(canvas)
        return canvas
