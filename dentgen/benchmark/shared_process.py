"""Several of a pool's actors in one process: numbers of them for which one machine has no room otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count, cycle
from typing import Any

import ray

from dentgen.documents.units import Unit
from dentgen.pipeline.actors.actor_work import UNITS_AT_ONCE, ActorWork
from dentgen.pipeline.actors.pool_actor import PoolActor
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.ledger import UnitResult


class SharedProcesses:
    """Starts the actors of a pool, several in each process.

    Each has its own backend, heartbeats and threads. The driver's pool takes them for actors with processes of their
    own: it hands units to them one by one, and gets their results, heartbeats and commits.
    """

    def __init__(self, actors: int, each: int, arguments: Sequence[Any]) -> None:
        """Start none yet.

        Args:
            actors: How many the pool will ask for.
            each: How many share a process.
            arguments: What ``ActorWork`` starts with, without a name.
        """
        self._actors, self._each, self._arguments = actors, each, arguments
        self._numbers = count()
        self._process: Any = None

    def start(self, name: str) -> Any:
        """The handle of the process that holds an actor; the first one of a process starts all of them."""
        number = next(self._numbers)
        if number % self._each == 0:
            threads = self._each * UNITS_AT_ONCE
            host: Any = ray.remote(ActorHost).options(num_cpus=0, max_concurrency=threads)
            self._process = host.remote(min(self._each, self._actors - number), name, *self._arguments)
        return self._process


class ActorHost(PoolActor):
    """A process of several actors, which take units in turn."""

    def __init__(self, actors: int, name: str, *arguments: Any) -> None:
        """Start them, with the arguments of ``ActorWork``."""
        self._works = [ActorWork(*(*arguments, f"{name}.{number}")) for number in range(actors)]
        self._turns = cycle(self._works)

    @ray.method(num_returns=2)
    def make(self, unit: Unit, lost_before: bool) -> tuple[UnitOutcome | None, UnitResult | None]:
        """As of ``PoolActor``, by the actor whose turn it is."""
        made = next(self._turns).make(unit, suspect=lost_before)
        return (made, None) if isinstance(made, UnitOutcome) else (None, made)

    def stop(self) -> None:
        """Let all of them sign off."""
        for work in self._works:
            work.stop()
