"""Throughput of a build, from the times in its ledger: runs, pauses, workers, samples per second.

A build may be interrupted and resumed days later, so long gaps are reported as pauses and do not count as working time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.documents.ledger import LedgerRecord
from dentgen.shards.ledger_table import read_records
from dentgen.shards.plan import Plan

#: Seconds without work after which a gap counts as a pause between two runs.
PAUSE: Final = 300.0
_POINTS: Final = 60


@dataclass(frozen=True, slots=True)
class UnitSpan:
    """Start and end of the work on one unit (Unix times, seconds), its worker and the samples it wrote."""

    worker: str
    start: float
    end: float
    samples: int


@dataclass(frozen=True, slots=True)
class Run:
    """A period of work without a pause.

    Attributes:
        start: Unix time, seconds.
        end: Unix time, seconds.
        units: Units finished.
        samples: Samples written.
        pause: Seconds since the previous run, 0 for the first.
    """

    start: float
    end: float
    units: int
    samples: int
    pause: float

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.end - self.start

    @property
    def rate(self) -> float:
        """Samples per second."""
        return self.samples / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class WorkerSpeed:
    """Throughput of one worker; ``busy`` is the time in seconds in which it worked on at least one unit."""

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
    """Throughput of a build.

    Attributes:
        runs: Runs in order, at least one.
        workers: Workers, the one with most samples first.
        curves: For each run, points of working seconds since the start of the build, without pauses, and samples per
            second.
        untimed: Units whose ledger record has no times.
    """

    runs: tuple[Run, ...]
    workers: tuple[WorkerSpeed, ...]
    curves: tuple[tuple[tuple[float, float], ...], ...]
    untimed: int

    @property
    def samples(self) -> int:
        """Samples of all timed units."""
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
    """Throughput of a build, None if its ledger has no times.

    Keeps only the times of each ledger record, because the ledger of ten million samples does not fit into memory.

    Args:
        out: The build.
        plan: Its plan.

    Raises:
        StorageError: If a ledger record cannot be read.
    """
    spans = [_span(record) for record in read_records(out, plan)]
    timed = [span for span in spans if span is not None]
    return measure_speed(timed, len(spans) - len(timed)) if timed else None


def measure_speed(spans: Sequence[UnitSpan], untimed: int = 0) -> Speed:
    """Compute runs, workers and curves.

    Args:
        spans: Timed units in any order, at least one.
        untimed: Number of units without times.
    """
    ordered = sorted(spans, key=lambda span: (span.start, span.end, span.worker))
    runs = _runs(ordered)
    return Speed(runs, _workers(ordered), _curves(ordered, runs), untimed)


def merged(intervals: Iterable[tuple[float, float]], pause: float) -> list[tuple[float, float]]:
    """Join intervals, sorted by start, that overlap or are at most ``pause`` apart."""
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
    end = max(timing.committed, timing.started + timing.seconds, timing.started)  # clocks may be set back
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
    """Samples per second in equal steps; the samples of a unit are spread evenly over its time."""
    working = sum(run.seconds for run in runs) or 1.0
    starts, ends, samples = (np.array([getattr(s, name) for s in ordered]) for name in ("start", "end", "samples"))
    curves, elapsed = [], 0.0
    for run in runs:
        steps = max(1, min(2 * run.units, round(_POINTS * run.seconds / working)))
        edges = np.linspace(run.start, run.end, steps + 1)
        written = np.array([_written_until(edge, starts, ends, samples) for edge in edges])
        rates = np.diff(written) / np.maximum(np.diff(edges), 1e-9)
        times = np.array([edges[0], *((edges[:-1] + edges[1:]) / 2), edges[-1]]) - run.start + elapsed
        rates = np.array([rates[0], *rates, rates[-1]])
        curves.append(tuple(zip(times.tolist(), rates.tolist(), strict=True)))
        elapsed += run.seconds
    return tuple(curves)


def _written_until(
    moment: float, starts: NDArray[np.float64], ends: NDArray[np.float64], samples: NDArray[np.float64]
) -> float:
    share = np.clip((moment - starts) / np.maximum(ends - starts, 1e-9), 0.0, 1.0)
    return float((share * samples).sum())
