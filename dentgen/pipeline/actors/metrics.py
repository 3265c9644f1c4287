"""Metrics of a build for Prometheus, exported by Ray under these names with the prefix ``ray_``.

Actors report what their engines do, the driver what was committed: a driver lives as long as its build, and sees every
unit once, whatever Ray retries. Nothing here is made where no Ray runs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from ray.util.metrics import Counter, Gauge, Histogram

from dentgen.pipeline.actors.heartbeat import Beat
from dentgen.pipeline.unit_outcome import UnitOutcome

_LOG = logging.getLogger(__name__)

#: What the driver exports, and its help text.
BUILD_METRICS: Final = {
    "dentgen_samples_planned": "Samples planned, by the build that runs.",
    "dentgen_samples_written_total": "Samples committed to shards.",
    "dentgen_samples_rejected_total": "Planned samples that were rejected, by class of the reason.",
    "dentgen_units_done_total": "Units committed.",
    "dentgen_put_seconds": "Time to commit a unit: shard and ledger record.",
    "dentgen_lease_renewals_total": "Renewals of the build's lease.",
}
#: What every actor exports.
ACTOR_METRICS: Final = {
    "dentgen_unit_retries_total": "Units begun again because a process died over them.",
    "dentgen_ticks_total": "Ticks of the engine: calls of the UNet on all slots.",
    "dentgen_engine_busy_ratio": "Share of the last seconds in which the engine was busy.",
    "dentgen_slots_in_use": "Row slots of the engine that are occupied.",
    "dentgen_queue_wait_seconds": "Time that a canvas waited for slots of the engine.",
    "dentgen_encode_seconds": "Time to encode and archive the samples of a unit.",
}
#: Ray's sums of a histogram are those of the middles of its buckets, so these are not too coarse.
_BOUNDARIES: Final = [scale * step for scale in (0.01, 0.1, 1.0, 10.0) for step in (1, 2, 3, 5, 7)] + [100.0, 300.0]


class BuildMetrics:
    """The driver's side; one per build, within a Ray session."""

    def __init__(self, planned: int) -> None:
        """Register the metrics and tell how many samples are planned."""
        self._written = _counter("dentgen_samples_written_total")
        self._rejected = _counter("dentgen_samples_rejected_total", "reason")
        self._units = _counter("dentgen_units_done_total")
        self._renewals = _counter("dentgen_lease_renewals_total")
        self._put = _histogram("dentgen_put_seconds")
        self._gauge, self._planned = _gauge("dentgen_samples_planned"), planned
        self.running()

    def counting(self, outcomes: Iterable[UnitOutcome]) -> Iterator[UnitOutcome]:
        """The same outcomes, each counted as it passes."""
        for outcome in outcomes:
            self._count(outcome)
            yield outcome

    def renewed(self) -> None:
        """Count a renewal of the lease."""
        with _forgiven():
            self._renewals.inc()

    def running(self) -> None:
        """Tell again how many samples are planned: Ray drops a gauge that was not set for twenty seconds."""
        with _forgiven():
            self._gauge.set(self._planned)

    def _count(self, outcome: UnitOutcome) -> None:
        if outcome.error:
            return
        self._units.inc()
        if outcome.written:
            self._written.inc(outcome.written)
        for reason, samples in outcome.rejected.items():
            self._rejected.inc(samples, tags={"reason": reason})
        self._put.observe(outcome.put_seconds)


class ActorMetrics:
    """The side of one actor; its heartbeat reports the engine, its units the rest."""

    def __init__(self) -> None:
        """Register the metrics."""
        self._ticks = _counter("dentgen_ticks_total")
        self._retries = _counter("dentgen_unit_retries_total")
        self._busy = _gauge("dentgen_engine_busy_ratio")
        self._slots = _gauge("dentgen_slots_in_use")
        self._wait = _histogram("dentgen_queue_wait_seconds")
        self._encode = _histogram("dentgen_encode_seconds")
        self._last: Beat | None = None

    def beat(self, beat: Beat, waits: Iterable[float]) -> None:
        """Report progress since the last heartbeat.

        Args:
            beat: This heartbeat.
            waits: Seconds that canvases waited which were admitted since the last one.
        """
        for seconds in waits:
            self._wait.observe(seconds)
        ticks, ratio = progress(self._last, beat)
        if ticks:
            self._ticks.inc(ticks)
        self._busy.set(ratio)
        self._slots.set(beat.slots_in_use)
        self._last = beat

    def unit(self, attempt: int) -> None:
        """Count the start of a unit."""
        if attempt > 1:
            self._retries.inc()

    def encoded(self, seconds: float) -> None:
        """Report how long a unit's samples took to encode."""
        self._encode.observe(seconds)

    def stopped(self) -> None:
        """An actor without work holds nothing: its last values would stand for another twenty seconds."""
        self._busy.set(0)
        self._slots.set(0)


def progress(last: Beat | None, beat: Beat) -> tuple[int, float]:
    """Ticks since the last heartbeat, and the busy share of the time in between.

    An engine that was built anew counts from 0 again.
    """
    if last is None or beat.ticks < last.ticks:
        return beat.ticks, min(1.0, beat.busy_share)
    passed = beat.up_seconds - last.up_seconds
    busy = beat.busy_seconds - last.busy_seconds
    return beat.ticks - last.ticks, min(1.0, max(0.0, busy / passed)) if passed > 0 else 0.0


@contextmanager
def _forgiven() -> Iterator[None]:
    """Metrics are worth no build: Ray may have ended in the middle of the block, which other threads enter."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever Ray raises then
        _LOG.debug("a metric was not told: %r", error)


def _counter(name: str, *tags: str) -> Counter:
    return Counter(name, _help(name), tag_keys=tags)


def _gauge(name: str) -> Gauge:
    return Gauge(name, _help(name))


def _histogram(name: str) -> Histogram:
    return Histogram(name, _help(name), boundaries=_BOUNDARIES)


def _help(name: str) -> str:
    return {**BUILD_METRICS, **ACTOR_METRICS}[name]
