"""Progress of a build: a bar on a terminal, a line now and then in a log. Refuses to know what is counted."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from tqdm import tqdm


class ConsoleProgress:
    """Call with (done, planned); use as a context manager."""

    def __init__(self) -> None:
        """Draw nothing until the first call."""
        self._bar: tqdm[None] | None = None
        self._interval = 0.1 if sys.stderr.isatty() else 5.0

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()

    def __call__(self, done: int, planned: int) -> None:
        """Show progress."""
        if self._bar is None:
            self._bar = tqdm(total=planned, unit="sample", desc="generating", mininterval=self._interval)
        self._bar.update(done - self._bar.n)
