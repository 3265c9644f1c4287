"""The actors of a build: all that the cluster has room for, within the spec's limits; they come and go with its nodes.

Every actor is asked for at once, and Ray starts it as soon as a node has room. One whose process or node is lost stays
in the pool: Ray restarts it where there is room, and until then it holds no unit.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import ray

from dentgen.pipeline.actors.placement import Node, Reservation

_LOG = logging.getLogger(__name__)

_WARN_EVERY_S: Final = 60.0


@dataclass(eq=False, slots=True)
class Member:
    """An actor of the pool.

    Attributes:
        name: Its name, under which it sends heartbeats.
        handle: Its handle.
        awaited: Becomes available when the actor is ready, for the first time or, if it was lost, again.
        node: Where it is ready; "" as long as it is not.
        units: Units that it holds.
        listed: Whether the pool lists it as free.
    """

    name: str
    handle: Any
    awaited: Any
    node: str = ""
    units: int = 0
    listed: bool = False


class ActorPool:
    """The actors, which of them are free, and how many there should be."""

    def __init__(
        self,
        start: Callable[[str], Any],
        forget: Callable[[str], object],
        dismiss: Callable[[str], object],
        reservation: Reservation,
        fewest: int,
        most: int,
        units_each: int,
    ) -> None:
        """Start without any actor.

        Args:
            start: Asks Ray for an actor, with the name that it shall have.
            forget: Called with the name of an actor of which no heartbeat is expected for now.
            dismiss: Called with the name of one that leaves the pool: its silence is no fault any more.
            reservation: What an actor reserves.
            fewest: Actors to ask for whatever room there is, so that a cluster that scales by demand grows.
            most: Actors at most.
            units_each: Units that an actor holds at most.
        """
        self._start, self._forget, self._dismiss, self._reservation = start, forget, dismiss, reservation
        self._numbers = count()
        self._fewest, self._most, self._units_each = fewest, most, units_each
        self.members: list[Member] = []
        self._free: deque[Member] = deque()
        self._sharers = 1
        self._warned = time.monotonic()

    def scale(self, nodes: Sequence[Node], waiting: int) -> list[Member]:
        """Ask for actors that nodes have room for, and let those go that nothing is left for.

        Args:
            nodes: The cluster now.
            waiting: Units that no actor holds yet.

        Returns:
            The actors that are new.
        """
        room = self._reservation.room(nodes)
        room = self._fewest if room is None else room
        if not room:
            self._warn(nodes)
        needed = waiting + sum(bool(member.units) for member in self.members)
        wanted = min(max(self._fewest, min(self._most, room)), needed)
        for member in self._surplus(len(self.members) - wanted):
            self._release(member)
        joined = [self._ask() for _ in range(wanted - len(self.members))]
        if joined:
            _LOG.info("%d actors asked for, %d in all", len(joined), len(self.members))
        arrived = sum(bool(member.node) for member in self.members)
        self._sharers = max(1, min(len(self.members), max(arrived, room)))
        return joined

    def _surplus(self, number: int) -> list[Member]:
        """Up to a number of actors that nobody would miss: those without a node first, then those without a unit."""
        idle = [member for member in self.members if not member.units]
        return sorted(idle, key=lambda member: bool(member.node))[: max(0, number)]

    def _ask(self) -> Member:
        name = f"actor {next(self._numbers)}"
        handle = self._start(name)
        member = Member(name, handle, handle.ready.remote())
        self.members.append(member)
        return member

    def arrive(self, member: Member, node: str) -> None:
        """An actor is ready on a node."""
        member.node = node
        self._list(member)

    def lose(self, member: Member) -> None:
        """An actor lost a unit, hence its process or node; Ray restarts it where there is room."""
        member.node = ""
        member.awaited = member.handle.ready.remote()
        self._forget(member.name)

    def take_free(self, unmade: int) -> Member | None:
        """An actor that holds one more unit from now on; each in turn, and none more than its share.

        Args:
            unmade: Units still to be made, including those that actors hold.
        """
        share = -(-unmade // self._sharers)
        for _ in range(len(self._free)):
            member = self._free.popleft()
            member.listed = False
            taken = bool(member.node) and member.units < min(share, self._units_each)
            member.units += taken
            self._list(member)
            if taken:
                return member
        return None

    def give_back(self, member: Member) -> None:
        """An actor no longer holds one of its units."""
        member.units -= 1
        self._list(member)

    def _list(self, member: Member) -> None:
        if member.node and member.units < self._units_each and not member.listed:
            member.listed = True
            self._free.append(member)

    def _release(self, member: Member) -> None:
        """Let an idle actor end by itself, or withdraw it if it has no node."""
        self.members.remove(member)
        if member.listed:
            self._free.remove(member)  # its handle would keep the actor and its GPU
            member.listed = False
        if member.node:
            member.node = ""
            member.handle.stop.remote()
        else:
            ray.kill(member.handle)
        self._dismiss(member.name)

    def close(self) -> None:
        """End all actors at once."""
        for member in self.members:
            self._dismiss(member.name)
            ray.kill(member.handle)
        self.members, self._free = [], deque()

    def _warn(self, nodes: Sequence[Node]) -> None:
        if time.monotonic() - self._warned > _WARN_EVERY_S:
            self._warned = time.monotonic()
            _LOG.warning("none of %d nodes has %s for an actor; waiting for one", len(nodes), self._reservation)
