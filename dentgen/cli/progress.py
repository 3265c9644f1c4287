"""Progress: a bar on a terminal, a line now and then in a log. Refuses to know what is counted."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

_LOG_SECONDS = 10.0


class ConsoleProgress:
    """Call with (done, planned); use as a context manager."""

    def __init__(self, doing: str, unit: str) -> None:
        """Draw nothing until the first call."""
        self._doing, self._unit = doing, unit
        self._bar: tqdm[None] | None = None
        self._said, self._first = 0.0, (0, 0.0)

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
        if sys.stderr.isatty():
            self._draw(done, planned)
        else:
            self._say(done, planned)

    def _draw(self, done: int, planned: int) -> None:
        if self._bar is None:
            self._bar = tqdm(total=planned, unit=self._unit, desc=self._doing)
        self._bar.update(done - self._bar.n)

    def _say(self, done: int, planned: int) -> None:
        """A whole line: a log has no use for a bar that redraws itself."""
        now = time.monotonic()
        if not self._said:
            self._first = (done, now)
        elif now - self._said < _LOG_SECONDS and done < planned:
            return
        self._said = now
        began, then = self._first
        meter = tqdm.format_meter(done, planned, now - then, initial=began, unit=self._unit, ncols=80, ascii=True)
        print(f"{self._doing}: {meter.strip()}", file=sys.stderr, flush=True)  # noqa: T201 - its job
