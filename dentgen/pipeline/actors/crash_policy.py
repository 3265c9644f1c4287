"""What follows from processes that died over a unit: it is made alone, then its records are looked at, then it fails.

Refuses to know who counts the crashes, and how a unit is made.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from dentgen.conditions.quarantine import find_crashing_records
from dentgen.conditions.readers.raw import ConditionShard
from dentgen.conditions.unit_records import EMPTY_QUARANTINE, Quarantine
from dentgen.documents import Unit
from dentgen.errors import BuildError
from dentgen.spec.build import BuildSpec

_LOG = logging.getLogger(__name__)

#: Once may be chance: a lost worker, a neighbour that took all memory.
_SUSPECT: Final = 2
_MAX_CRASHES: Final = 4


class UnitGate:
    """Units that share an actor, and suspects that must have it for themselves."""

    def __init__(self) -> None:
        """Nobody is in."""
        self._changed = threading.Condition()
        self._inside = self._suspects = 0

    @contextmanager
    def turn(self, *, alone: bool) -> Iterator[None]:
        """Wait for a turn; from the moment that a suspect waits, no other begins."""
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
    """Records of a unit that must not be read in this process, if enough others died over it.

    Args:
        spec: How records are read.
        unit: The unit.
        shard: Where its records are.
        crashes: How many processes have died over it.

    Raises:
        BuildError: If processes went on dying after its records had been looked at.
    """
    if crashes >= _MAX_CRASHES:
        raise BuildError(
            f"{crashes} processes died over it, {crashes - _SUSPECT} of them after its crashing records were excluded",
            key=f"unit {unit.name}",
            advice="if the system log shows the out-of-memory killer, lower pipeline.actors",
        )
    if crashes < _SUSPECT:
        return EMPTY_QUARANTINE
    _LOG.warning("unit %s: %d processes died over it; its records are read one by one in others", unit.name, crashes)
    return find_crashing_records(spec, unit, shard)
