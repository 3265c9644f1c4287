"""Progress with rate and ETA on standard error: a bar on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import Final, Self, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

_LOG_INTERVAL_S: Final = 10.0


class ConsoleProgress:
    """Call with (done, planned); use as a context manager."""

    def __init__(self, action: str, unit: str) -> None:
        """Configure the bar; it appears with the first call."""
        self._action, self._unit = action, unit
        self._bar: tqdm[None] | None = None
        self._logged, self._first = 0.0, (0, 0.0)

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()

    def __call__(self, done: int, planned: int | None) -> None:
        """Show progress; None stands for a number that nobody knows."""
        if sys.stderr.isatty():
            self._draw(done, planned)
        else:
            self._log(done, planned)

    def _draw(self, done: int, planned: int | None) -> None:
        if self._bar is None:
            self._bar = tqdm(total=planned, unit=self._unit, desc=self._action)
        self._bar.update(done - self._bar.n)

    def _log(self, done: int, planned: int | None) -> None:
        """Print a whole line, because a log cannot redraw a bar."""
        now = time.monotonic()
        if not self._logged:
            self._first = (done, now)
        elif now - self._logged < _LOG_INTERVAL_S and done != planned:
            return
        self._logged = now
        began, then = self._first
        meter = tqdm.format_meter(done, planned, now - then, initial=began, unit=self._unit, ncols=80, ascii=True)
        print(f"{self._action}: {meter.strip()}", file=sys.stderr, flush=True)  # noqa: T201 - its job


def tracked(items: Iterable[Item], action: str, unit: str, total: int | None = None) -> Iterator[Item]:
    """The same items, with progress as they are asked for.

    Args:
        items: Anything to iterate over.
        action: What is being done, "exporting".
        unit: What an item is, "shard".
        total: Their number; None: as many as ``items`` say, if they do.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with ConsoleProgress(action, unit) as progress:
        for done, item in enumerate(items, 1):
            yield item
            progress(done, total)
