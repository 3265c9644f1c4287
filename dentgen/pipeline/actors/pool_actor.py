"""The plain Ray actor of an elastic pool: its methods run in several threads at once."""

from __future__ import annotations

from typing import Any

import ray

from dentgen.documents.units import Unit
from dentgen.pipeline.actors.actor_work import ActorWork
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.ledger import UnitResult


class PoolActor:
    """An actor of an ``ActorPool``."""

    def __init__(self, *arguments: Any) -> None:
        """Start the work, with its arguments, once per process."""
        self._work = ActorWork(*arguments)

    @ray.method(max_task_retries=-1)
    def ready(self) -> str:
        """Id of the node on which it is ready; where Ray restarts the actor meanwhile, of the one after that."""
        return str(ray.get_runtime_context().get_node_id())

    @ray.method(num_returns=2)
    def make(self, unit: Unit, lost_before: bool) -> tuple[UnitOutcome | None, UnitResult | None]:
        """Generate a unit: its failure, or None; and what there is to commit, which only a commit task needs to fetch.

        Args:
            unit: The unit.
            lost_before: Whether another actor was lost that had it; only then it may have crashed a process.
        """
        made = self._work.make(unit, suspect=lost_before)
        return (made, None) if isinstance(made, UnitOutcome) else (None, made)

    def stop(self) -> None:
        """Sign off: its silence is no fault any more."""
        self._work.stop()
