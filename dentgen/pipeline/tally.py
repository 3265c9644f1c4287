"""What a running build has done so far, added up for its lease and its summary."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from dentgen.documents.lease import LiveFigures
from dentgen.pipeline.unit_outcome import UnitOutcome

#: Seconds over which a rate is taken.
WINDOW: Final = 60.0


class Tally:
    """Adds up units of one run; one thread adds, others may read.

    Attributes:
        before: Samples that were done when the run began.
        units, samples, retries: Units and samples that it made, and those units that took more than one attempt.
        bytes: Size of the shards that it committed.
        rejected: Its rejected samples by class of their reason.
        actors: Gives the number of actors alive.
        clock: Monotonic time in seconds.
    """

    def __init__(self, before: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        """Start counting."""
        self.before, self.units, self.samples, self.retries, self.bytes = before, 0, 0, 0, 0
        self.rejected: Counter[str] = Counter()
        self.actors: Callable[[], int] = lambda: 0
        self.clock, self._began = clock, clock()
        self._recent: deque[tuple[float, int]] = deque()

    def add(self, outcome: UnitOutcome) -> None:
        """Count a unit; one that failed counts for nothing."""
        if outcome.error:
            return
        self.units += 1
        self.samples += outcome.samples
        self.retries += outcome.attempt > 1
        self.bytes += outcome.bytes
        self.rejected.update(outcome.rejected)
        self._recent.append((self.clock(), outcome.samples))
        self._forget()

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self._began

    def rate(self) -> float:
        """Samples per second over the last minute, or since the run began if that is less."""
        now = self.clock()
        passed = min(WINDOW, now - self._began)
        return sum(samples for then, samples in [*self._recent] if then > now - WINDOW) / passed if passed > 0 else 0.0

    def figures(self) -> LiveFigures:
        """What the lease tells watchers."""
        return LiveFigures(
            samples=self.before + self.samples,
            rejected=self.rejected.total(),
            rate=round(self.rate(), 3),
            actors=self.actors(),
            retries=self.retries,
        )

    def _forget(self) -> None:
        while self._recent and self._recent[0][0] <= self.clock() - WINDOW:
            self._recent.popleft()
