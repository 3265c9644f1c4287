"""What an actor does, whoever hands it units: make them with its backend, several at once, and tell how it fares.

Ray Data maps ``UnitMaker`` over rows, a pool calls ``PoolActor``; both only pass units on to this. Imports nothing
heavy: what an actor takes to start and in memory is its backend's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from dentgen import storage
from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.units import Unit
from dentgen.logs import LogFormat, log_context
from dentgen.pipeline.actors.commit_stage import error_text, log_as_driver
from dentgen.pipeline.actors.crash_policy import UnitGate
from dentgen.pipeline.actors.heartbeat import Beat, Heartbeat
from dentgen.pipeline.actors.metrics import ActorMetrics
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.ledger import UnitResult
from dentgen.shards.plan import BuildLocation, Plan

_LOG = logging.getLogger(__name__)

#: Units that an actor works on at once: one in the engine, one ready to follow it, and two of which one may still be
#: packed while the other is decoded. With fewer, a unit that is being packed takes the place of the one that the engine
#: needs next; more would only take memory.
UNITS_AT_ONCE: Final = 4
#: Units that wait in front of an actor, so that it need not wait for the scheduler; no other actor can take them.
QUEUED: Final = 2


class UnitBackend(Protocol):
    """Generates units inside an actor, several at once from several threads."""

    @property
    def dead(self) -> bool:
        """Whether nothing can be generated here any more."""
        ...

    def make(self, unit: Unit, crashes: int) -> UnitResult:
        """Generate a unit that has crashed ``crashes`` processes before."""
        ...

    def describe(self, beat: Beat) -> Beat:
        """Add the engine's progress to a heartbeat."""
        ...

    def take_waits(self) -> list[float]:
        """Seconds that canvases waited for slots which got them since the last call."""
        ...


class ActorWork:
    """One backend with its heartbeat, metrics and logs; units come from several threads at once."""

    def __init__(
        self,
        plan: Plan,
        location: BuildLocation,
        monitor: str,
        backend: Callable[[Plan, BuildLocation], UnitBackend],
        log_format: LogFormat = "text",
        name: str = "",
    ) -> None:
        """Start the heartbeat, then the backend, once per actor, and log as the driver does.

        Args:
            plan: The plan, without units.
            location: Where source and output are, as this node reaches them.
            monitor: As for ``Heartbeat``.
            backend: Generates units.
            log_format: As the driver logs.
            name: As for ``Heartbeat``.
        """
        log_as_driver(log_format)
        self._build = storage.without_secrets(location.output)
        self._heartbeat = Heartbeat(monitor, name)
        self._metrics = ActorMetrics()
        self._backend = backend(plan, location)
        self._gate = UnitGate()
        self._heartbeat.ready(self._backend.describe, self._observe)

    def stop(self) -> None:
        """Sign off: no unit will come, and silence is no fault any more."""
        self._heartbeat.stop()
        self._metrics.stopped()

    def make(self, unit: Unit, *, suspect: bool = True) -> UnitResult | UnitOutcome:
        """Generate a unit: what there is to commit, or the outcome that tells why there is nothing.

        A unit that crashed a process before runs alone: if it happens again, no other unit is to blame.

        Args:
            unit: The unit.
            suspect: Whether it may have crashed a process. False saves the monitor's three calls: whoever hands out the
                unit sees when it is lost, and records its start then.
        """
        if not suspect:
            with self._gate.enter(alone=False):
                return self._made(unit, 0, 1)
        crashes = self._heartbeat.crashes(unit.name)
        with self._gate.enter(alone=crashes > 0), self._heartbeat.tracking(unit.name) as attempt:
            return self._made(unit, crashes, attempt)

    def _made(self, unit: Unit, crashes: int, attempt: int) -> UnitResult | UnitOutcome:
        self._metrics.unit(attempt)
        with log_context(build=self._build, unit=unit.name, attempt=attempt):
            return self._outcome(unit, crashes, attempt)

    def _outcome(self, unit: Unit, crashes: int, attempt: int) -> UnitResult | UnitOutcome:
        try:
            result = self._backend.make(unit, crashes)
            self._metrics.encoded(result.encode_seconds)
            _log_result(result)
            return replace(result, record=_numbered(result.record, attempt))
        except Exception as error:  # noqa: BLE001 - travels as data and fails the build by name
            return UnitOutcome(unit.id, 0, error_text(error), self._backend.dead)

    def _observe(self, beat: Beat) -> None:
        self._metrics.beat(beat, self._backend.take_waits())


def _log_result(result: UnitResult) -> None:
    """Say what became of a unit, and of each of its rejected samples."""
    for sample in result.record.samples:
        if sample.status == "rejected":
            _LOG.info("rejected: %s", sample.reason, extra={"key": sample.key})
    seconds = 0.0 if result.record.timing is None else result.record.timing.seconds
    _LOG.info("%d samples in %.1f s, %d rejected", result.record.written, seconds, result.record.rejected)


def _numbered(record: LedgerRecord, attempt: int) -> LedgerRecord:
    """The record with the number of the attempt, beside its times: nothing that must be equal between attempts."""
    if record.timing is None:
        return record
    return record.model_copy(update={"timing": record.timing.model_copy(update={"attempt": attempt})})
