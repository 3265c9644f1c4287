"""Where a build's actors and commit tasks find room: what they reserve, and which nodes of a cluster have it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import ray

from dentgen.errors import SpecError
from dentgen.spec.pipeline import PipelineSpec

#: Ray counts in ten-thousandths.
_ROUNDING: Final = 1e-5


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a cluster that is alive: its id, and how many CPUs and GPUs it has in all."""

    id: str
    cpus: float
    gpus: float


def living_nodes() -> list[Node]:
    """The cluster's nodes as they are now."""
    nodes: list[Mapping[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    found = [(node["NodeID"], node["Resources"]) for node in nodes if node["Alive"]]
    return [Node(name, has.get("CPU", 0.0), has.get("GPU", 0.0)) for name, has in found]


@dataclass(frozen=True, slots=True)
class Reservation:
    """CPUs and GPUs that every actor reserves."""

    cpus: float
    gpus: float

    @classmethod
    def of(cls, settings: PipelineSpec, device: str, nodes: Sequence[Node]) -> Reservation:
        """What actors reserve: a GPU if they run on one, a CPU otherwise, unless the settings say something else.

        On GPUs they reserve no CPU, so that any machine has one left to commit with; on CPUs they reserve less than one
        where the first of them would leave none. Below one CPU in all, nothing.

        Raises:
            SpecError: If they would run on a GPU that they do not reserve, which Ray hides from them.
        """
        gpus = settings.gpus_per_actor
        gpus = float(device == "cuda") if gpus is None else gpus
        if device == "cuda" and not gpus:
            raise SpecError(key="pipeline.gpus_per_actor", found="0 for a build on GPUs", expected="null, or above 0")
        cpus = sum(node.cpus for node in nodes) or math.inf  # none yet: they join later
        return cls(0.0 if gpus else min(1.0, max(0.0, cpus - 1) / settings.fewest_actors), gpus)

    def room(self, nodes: Sequence[Node]) -> int | None:
        """Actors that fit on nodes, with a CPU left to commit with; None if they reserve nothing."""
        if self.gpus:
            return sum(_fits(node.gpus, self.gpus) for node in nodes)
        if not self.cpus:
            return None
        spare = max(0.0, sum(node.cpus for node in nodes) - 1)
        return min(_fits(spare, self.cpus), sum(_fits(node.cpus, self.cpus) for node in nodes))

    def require_room(self, nodes: Sequence[Node]) -> None:
        """Check that nodes that no others will join have room for an actor.

        Raises:
            SpecError: If none of them has.
        """
        if self.room(nodes) == 0:
            most = max(node.gpus for node in nodes)
            raise SpecError(key="pipeline.gpus_per_actor", found=f"{self.gpus:g}", expected=f"at most {most:g} here")

    def __str__(self) -> str:
        """As in a message."""
        return f"{self.gpus:g} GPU" if self.gpus else f"{self.cpus:g} CPU"


def _fits(available: float, each: float) -> int:
    return math.floor(available / each + _ROUNDING)


class CommitPlaces:
    """Chooses the nodes of commit tasks: those without a GPU in turn, if others have one; otherwise where a unit is."""

    def __init__(self) -> None:
        """Start without any node."""
        self._turn = count()
        self._nodes: list[Node] = []
        self._cpus = 0.0

    def see(self, nodes: Sequence[Node]) -> None:
        """Take in which nodes there are now."""
        apart = [node for node in nodes if node.cpus and not node.gpus]
        mixed = any(node.gpus for node in nodes)
        self._nodes = apart if mixed else []
        self._cpus = sum(node.cpus for node in self._nodes or nodes)

    def most(self, actors: int) -> int:
        """Commit tasks that should run at once beside a number of actors: they mostly wait for the disk or network."""
        return max(4, min(4 * actors, int(2 * self._cpus)))

    def next(self, made_on: str) -> str:
        """Id of the node on which to commit a unit that was made on a node."""
        return self._nodes[next(self._turn) % len(self._nodes)].id if self._nodes else made_on
