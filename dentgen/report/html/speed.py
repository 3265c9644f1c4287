"""How fast a build went, from the times in its ledger: runs, pauses, workers, samples per second.

A build may be broken off and taken up days later, so time in which nothing was made for long is cut out and told apart.
Refuses to know how a chart is drawn.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.documents import LedgerRecord
from dentgen.shards.ledger import read_ledger
from dentgen.shards.plan import Plan

#: Nothing made for longer than this, in seconds, is a pause between two runs.
PAUSE: Final = 300.0
_THREADS: Final = 16
_POINTS: Final = 60


@dataclass(frozen=True, slots=True)
class UnitSpan:
    """When one unit was made, by whom, and the samples it wrote. Unix times in seconds."""

    worker: str
    start: float
    end: float
    samples: int


@dataclass(frozen=True, slots=True)
class Run:
    """A time without a pause in which units were made.

    Attributes:
        start: Unix time, seconds.
        end: Unix time, seconds.
        units: Units made.
        samples: Samples written.
        pause: Seconds since the run before, 0 for the first.
    """

    start: float
    end: float
    units: int
    samples: int
    pause: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start

    @property
    def rate(self) -> float:
        """Samples per second."""
        return self.samples / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class WorkerSpeed:
    """What one worker did; ``busy`` is the time in seconds in which it had a unit at hand."""

    worker: str
    units: int
    samples: int
    busy: float

    @property
    def rate(self) -> float:
        """Samples per busy second."""
        return self.samples / self.busy if self.busy > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Speed:
    """Times of a build.

    Attributes:
        runs: Runs in their order, at least one.
        workers: Workers, the one with most samples first.
        curves: Per run the working seconds since the build began (pauses cut out) and the samples per second there.
        untimed: Units whose ledger record has no time.
    """

    runs: tuple[Run, ...]
    workers: tuple[WorkerSpeed, ...]
    curves: tuple[tuple[tuple[float, float], ...], ...]
    untimed: int

    @property
    def samples(self) -> int:
        """Samples whose time is known."""
        return sum(run.samples for run in self.runs)

    @property
    def wall(self) -> float:
        """Seconds from the first start to the last commit."""
        return self.runs[-1].end - self.runs[0].start

    @property
    def working(self) -> float:
        """Seconds without pauses."""
        return sum(run.seconds for run in self.runs)

    @property
    def rate(self) -> float:
        """Samples per working second."""
        return self.samples / self.working if self.working > 0 else 0.0

    @property
    def peak(self) -> float:
        """Highest rate of the curves."""
        return max((rate for curve in self.curves for _, rate in curve), default=0.0)


def read_speed(out: str, plan: Plan) -> Speed | None:
    """Times of a build, None if its ledger has none.

    Only the times are kept of every record: a ledger of ten million samples does not fit into memory.

    Raises:
        StorageError: If a ledger record cannot be read.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        spans = list(pool.map(lambda unit: _span(read_ledger(out, unit.name)), plan.units))
    timed = [span for span in spans if span is not None]
    return measure_speed(timed, len(spans) - len(timed)) if timed else None


def measure_speed(spans: Sequence[UnitSpan], untimed: int = 0) -> Speed:
    """Runs, workers and curves of at least one unit.

    Args:
        spans: Units in any order.
        untimed: Units whose time is unknown.
    """
    ordered = sorted(spans, key=lambda span: (span.start, span.end, span.worker))
    runs = _runs(ordered)
    return Speed(runs, _workers(ordered), _curves(ordered, runs), untimed)


def merged(intervals: Iterable[tuple[float, float]], pause: float) -> list[tuple[float, float]]:
    """Join intervals, sorted by their start, that overlap or lie no more than a pause apart."""
    joined: list[tuple[float, float]] = []
    for start, end in intervals:
        if joined and start - joined[-1][1] <= pause:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _span(record: LedgerRecord) -> UnitSpan | None:
    timing = record.timing
    if timing is None:
        return None
    end = max(timing.committed, timing.started + timing.seconds, timing.started)  # clocks are set back
    return UnitSpan(timing.worker, timing.started, end, record.written)


def _runs(ordered: Sequence[UnitSpan]) -> tuple[Run, ...]:
    bounds = merged(((span.start, span.end) for span in ordered), PAUSE)
    starts = [start for start, _ in bounds]
    units, samples = [0] * len(bounds), [0] * len(bounds)
    for span in ordered:
        number = int(np.searchsorted(starts, span.start, side="right")) - 1
        units[number] += 1
        samples[number] += span.samples
    ends = [bounds[0][0], *(end for _, end in bounds)]
    return tuple(
        Run(start, end, units[number], samples[number], start - ends[number])
        for number, (start, end) in enumerate(bounds)
    )


def _workers(ordered: Sequence[UnitSpan]) -> tuple[WorkerSpeed, ...]:
    times: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    samples: Counter[str] = Counter()
    for span in ordered:
        times[span.worker].append((span.start, span.end))
        samples[span.worker] += span.samples
    workers = (
        WorkerSpeed(name, len(spans), samples[name], sum(end - start for start, end in merged(spans, 0.0)))
        for name, spans in times.items()
    )
    return tuple(sorted(workers, key=lambda worker: (-worker.samples, worker.worker)))


def _curves(ordered: Sequence[UnitSpan], runs: Sequence[Run]) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Samples per second in equal steps; a unit's samples are spread evenly over the time that it took."""
    working = sum(run.seconds for run in runs) or 1.0
    starts, ends, samples = (np.array([getattr(s, name) for s in ordered]) for name in ("start", "end", "samples"))
    curves, before = [], 0.0
    for run in runs:
        steps = max(1, min(2 * run.units, round(_POINTS * run.seconds / working)))
        edges = np.linspace(run.start, run.end, steps + 1)
        made = np.array([_made_until(edge, starts, ends, samples) for edge in edges])
        rates = np.diff(made) / np.maximum(np.diff(edges), 1e-9)
        times = np.array([edges[0], *((edges[:-1] + edges[1:]) / 2), edges[-1]]) - run.start + before
        rates = np.array([rates[0], *rates, rates[-1]])
        curves.append(tuple(zip(times.tolist(), rates.tolist(), strict=True)))
        before += run.seconds
    return tuple(curves)


def _made_until(
    moment: float, starts: NDArray[np.float64], ends: NDArray[np.float64], samples: NDArray[np.float64]
) -> float:
    share = np.clip((moment - starts) / np.maximum(ends - starts, 1e-9), 0.0, 1.0)
    return float((share * samples).sum())
