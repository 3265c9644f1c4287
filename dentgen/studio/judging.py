"""What judges say of the latest picture, measured beside the engine; pictures between are skipped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from dentgen.errors import DentgenError
from dentgen.models.judges import load_judges
from dentgen.quality.labelled_pictures import labelled_figures
from dentgen.records import FigureName
from dentgen.spec.quality import EMBEDDED
from dentgen.studio.seen_findings import SeenFinding, seen_findings
from dentgen.studio.stream import Frame

#: Least seconds after a measurement: the engine needs the processor more than the eye needs new figures.
_PAUSE: Final = 1.0
#: Rest after a measurement, in times of its duration.
_REST: Final = 9.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What judges say of a picture.

    Attributes:
        gate: The gate's figures by name, without those that are not finite.
        findings: The document's findings.
    """

    gate: dict[FigureName, float]
    findings: tuple[SeenFinding, ...]


class Judging:
    """A thread that measures the latest picture that it was handed."""

    def __init__(self, show: Callable[[Frame, Figures], None], tell: Callable[[Exception], None]) -> None:
        """Start the thread; judges are loaded in it.

        Args:
            show: Called with a picture and its figures.
            tell: Called with an error; nothing is measured from then on.
        """
        self._show, self._tell = show, tell
        self._latest: Frame | None = None
        self._change, self._closed = threading.Condition(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="dentgen-studio-judges")
        self._thread.start()

    def hand(self, frame: Frame) -> None:
        """Hand over a picture in place of any that waits."""
        with self._change:
            self._latest = frame
            self._change.notify()

    def close(self) -> None:
        """Stop, and wait for the thread."""
        with self._change:
            self._closed.set()
            self._change.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            judges = load_judges(EMBEDDED)
            while (frame := self._next()) is not None:
                begun = time.monotonic()
                figures = labelled_figures(judges, [frame.picture], [frame.snapshot.record])
                known = {name: float(values[0]) for name, values in figures.items() if np.isfinite(values[0])}
                self._show(frame, Figures(known, tuple(seen_findings(frame.picture, frame.snapshot.record))))
                self._closed.wait(max(_PAUSE, _REST * (time.monotonic() - begun)))
        except (DentgenError, RuntimeError, ValueError) as error:
            self._tell(error)

    def _next(self) -> Frame | None:
        """The latest picture, once there is one; None when closed."""
        with self._change:
            self._change.wait_for(lambda: self._latest is not None or self._closed.is_set())
            frame, self._latest = self._latest, None
            return None if self._closed.is_set() else frame
