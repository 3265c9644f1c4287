"""The Ray actor that generates units, several at once, with a backend that holds what it needs for that.

Imports nothing heavy: what an actor takes to start and in memory is its backend's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import ray

from dentgen.documents import Unit
from dentgen.pipeline.actors.commit_stage import UnitOutcome, error_text
from dentgen.pipeline.actors.crash_policy import UnitGate
from dentgen.pipeline.actors.heartbeat import Beat, Heartbeat
from dentgen.redaction import protect_logs
from dentgen.shards.ledger import UnitResult
from dentgen.shards.plan import BuildLocation, Plan

#: Units that an actor works on at once: one in the engine, one ready to follow it, and two of which one may still be
#: packed while the other is decoded. With fewer, a unit that is being packed takes the place of the one that the engine
#: needs next; more would only take memory.
UNITS_AT_ONCE: Final = 4


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


class UnitMaker:
    """A Ray actor with one backend; its methods run in several threads at once."""

    def __init__(
        self,
        plan: Plan,
        location: BuildLocation,
        monitor: Any,
        backend: Callable[[Plan, BuildLocation], UnitBackend],
        name: str,
    ) -> None:
        """Start the heartbeat, then the backend, once per actor."""
        protect_logs()
        self._heartbeat = Heartbeat(monitor, name)
        self._backend = backend(plan, location)
        self._gate = UnitGate()
        self._heartbeat.ready(self._backend.describe)

    @ray.method(max_task_retries=-1)
    def ready(self) -> str:
        """Id of the node on which it is ready; where Ray restarts the actor meanwhile, of the one after that."""
        return str(ray.get_runtime_context().get_node_id())

    @ray.method(num_returns=2)
    def make(self, unit: Unit, lost_before: bool) -> tuple[UnitOutcome | None, UnitResult | None]:
        """Generate a unit: its failure, or None; and what there is to commit, which only a commit task needs to fetch.

        A unit that crashed a process before runs alone: if it happens again, no other unit is to blame.

        Args:
            unit: The unit.
            lost_before: Whether another actor was lost that had it; only then it may have crashed a process.
        """
        crashes = self._heartbeat.crashes(unit.name) if lost_before else 0
        with self._gate.enter(alone=crashes > 0), self._heartbeat.tracking(unit.name):
            try:
                return None, self._backend.make(unit, crashes)
            except Exception as error:  # noqa: BLE001 - travels as data and fails the build by name
                return UnitOutcome(unit.id, 0, error_text(error), self._backend.dead), None

    def stop(self) -> None:
        """Sign off: its silence is no fault any more."""
        self._heartbeat.stop()
