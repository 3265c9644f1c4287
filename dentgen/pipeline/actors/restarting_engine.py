"""An engine that is rebuilt once when it dies under a unit."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from dentgen.diffusion.canvas import Canvas, Sampled
from dentgen.diffusion.driver import EngineDriver
from dentgen.errors import EngineError
from dentgen.generation.generator import Generator, start_engine
from dentgen.pipeline.actors.heartbeat import Beat

_LOG = logging.getLogger(__name__)


Result = TypeVar("Result")


class RestartingEngine:
    """An engine that is built anew once for every unit that it died under: what killed it may have passed."""

    def __init__(self, generator: Generator) -> None:
        """Start the first one."""
        self._generation = generator
        self._rebuilding = threading.Lock()
        self._driver = EngineDriver(start_engine(generator))

    @property
    def dead(self) -> bool:
        """Whether the engine that stands now is dead."""
        return self._driver.dead

    def run(self, canvases: Sequence[Canvas]) -> dict[str, Sampled]:
        """Sample canvases.

        Raises:
            EngineError: If the engine died twice.
        """
        return self._twice(lambda driver: driver.run(canvases))

    def call(self, work: Callable[[], Result]) -> Result:
        """Do other work in the engine's thread, between two ticks.

        Raises:
            EngineError: If the engine died twice.
        """
        return self._twice(lambda driver: driver.call(work))

    def _twice(self, ask: Callable[[EngineDriver], Result]) -> Result:
        try:
            return ask(self._driver)
        except EngineError as error:
            if not self._driver.dead:
                raise
            _LOG.error("%s; a new engine takes its place", error)
        with self._rebuilding:
            if self._driver.dead:
                self._driver = EngineDriver(start_engine(self._generation))
        return ask(self._driver)

    def describe(self, beat: Beat) -> Beat:
        """Add what the engine does to a beat."""
        driver = self._driver
        return replace(
            beat,
            busy_seconds=driver.busy_seconds + driver.tick_seconds,
            ticks=driver.ticks,
            longest_tick=driver.longest_tick,
            tick_seconds=driver.tick_seconds,
        )
