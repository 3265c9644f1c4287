"""Crash policy: retry a unit alone, then quarantine the records that crash their reader, then fail the unit."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from dentgen.conditions.quarantine import find_crashing_records
from dentgen.conditions.readers.raw import ConditionShard
from dentgen.conditions.unit_records import EMPTY_QUARANTINE, Quarantine
from dentgen.documents.units import Unit
from dentgen.errors import BuildError
from dentgen.spec.build import BuildSpec

_LOG = logging.getLogger(__name__)

#: One crash may be bad luck: a lost worker, another process that took all memory.
_SUSPECT: Final = 2
_MAX_CRASHES: Final = 4


class UnitGate:
    """Lets units share an actor, and gives suspects of a crash the actor to themselves."""

    def __init__(self) -> None:
        """Start empty."""
        self._changed = threading.Condition()
        self._inside = self._suspects = 0

    @contextmanager
    def enter(self, *, alone: bool) -> Iterator[None]:
        """Wait until the unit may run; while a suspect waits, no other unit starts."""
        with self._changed:
            self._suspects += alone
            self._changed.wait_for(lambda: not self._inside if alone else not self._suspects)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._suspects -= alone
                self._changed.notify_all()


def quarantine_after_crashes(spec: BuildSpec, unit: Unit, shard: ConditionShard, crashes: int) -> Quarantine:
    """Find the records that must not be read in this process, if enough others died over the unit.

    Args:
        spec: Spec of the build.
        unit: The unit.
        shard: Where its records are.
        crashes: How many processes have died over it.

    Raises:
        BuildError: If processes kept dying after its crashing records had been excluded.
    """
    if crashes >= _MAX_CRASHES:
        raise BuildError(
            f"{crashes} processes died over it, {crashes - _SUSPECT} of them after its crashing records were excluded",
            key=f"unit {unit.name}",
            advice="if the system log shows the out-of-memory killer, lower pipeline.actors",
        )
    if crashes < _SUSPECT:
        return EMPTY_QUARANTINE
    _LOG.warning("unit %s: %d processes died over it; looking for the record in child processes", unit.name, crashes)
    return find_crashing_records(spec, unit, shard)
