"""The driver's loop: units go to free actors, what they make to commit tasks, and lost units to other actors."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dentgen.documents.units import Unit
from dentgen.logs import LogFormat
from dentgen.pipeline.actors.calls import Calls
from dentgen.pipeline.actors.commit_stage import Claims, commit_unit
from dentgen.pipeline.actors.placement import CommitPlaces, Node, living_nodes
from dentgen.pipeline.actors.pool import ActorPool, Member
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.ledger import UnitResult

_LOG = logging.getLogger(__name__)

#: How often the cluster is looked at.
_LOOK_S: Final = 1.0
#: A task that dies with its process is started again this often by Ray, and its unit is made again as often.
_RETRIES: Final = 3
_CANCEL_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Making:
    """A unit that an actor holds, and what comes of it, which stays where it was made.

    Attributes:
        unit: The unit.
        member: The actor.
        awaited: As that of ``member`` when it was handed the unit; another one if the actor was lost since.
        result: What is to be committed.
        node: Where the actor is.
    """

    unit: Unit
    member: Member
    awaited: Any
    result: Any
    node: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A unit that is committed."""

    unit: Unit


@dataclass
class Dispatcher:
    """Makes and commits units with a pool of actors.

    Attributes:
        units: Units to make.
        pool: The actors, none yet.
        out: The build, as workers reach it.
        claims: As for ``make_with_ray``.
        record_start: Records that a node started a unit, which actors do only of units that were lost before. One that
            waited in an actor's queue counts as started when the actor is lost for the first time.
        log_format: As the driver logs.
        look: The nodes of the cluster.
        commit: As ``commit_unit``.
        may_begin: Whether units are handed out yet; a benchmark waits for all actors.
    """

    units: Sequence[Unit]
    pool: ActorPool
    out: str
    claims: Claims | None
    record_start: Callable[[str, str], object]
    log_format: LogFormat = "text"
    look: Callable[[], list[Node]] = living_nodes
    commit: Callable[[UnitResult, str, Claims | None, LogFormat], UnitOutcome] = commit_unit
    may_begin: Callable[[ActorPool], bool] = lambda pool: True
    _again: deque[Unit] = field(default_factory=deque)
    _losses: Counter[int] = field(default_factory=Counter)
    _uncommitted: Counter[int] = field(default_factory=Counter)
    _made: deque[Making] = field(default_factory=deque)
    _calls: Calls[Member | Making | Commit] = field(default_factory=Calls)
    _tasks: dict[str, Any] = field(default_factory=dict)
    _places: CommitPlaces = field(default_factory=CommitPlaces)

    def outcomes(self) -> Generator[UnitOutcome, None, None]:
        """Yield the outcome of every unit as it ends.

        Raises:
            ray.exceptions.RayError: If an actor cannot be started, or will not be started again.
        """
        self._commits = self._holding = 0
        self._task: Any = ray.remote(num_cpus=0, max_retries=_RETRIES)(self.commit)
        self._unmade, self._looked = len(self.units), 0.0
        fresh = iter(self.units)
        try:
            while self._unmade or self._made or self._commits:
                self._scale()
                self._hand_out(fresh)
                self._start_commits()
                for event, ended in self._calls.ended(_LOOK_S):
                    yield from self._handle(event, ended)
        finally:
            self._close()

    def _scale(self) -> None:
        """Look at the cluster from time to time; actors come with its nodes, and end when nothing is left for them."""
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        nodes = self.look()
        self._places.see(nodes)
        for member in self.pool.scale(nodes, self._unmade - self._holding):
            self._calls.add(member.awaited, member)

    def _hand_out(self, fresh: Iterator[Unit]) -> None:
        """Give units to free actors, unless commits fall behind: what is made and not committed takes memory."""
        if not self.may_begin(self.pool):
            return
        while self._holding < self._unmade and len(self._made) <= 2 * len(self.pool.members):
            member = self.pool.take_free(self._unmade)
            if member is None:
                return
            unit = self._again.popleft() if self._again else next(fresh)
            failed, result = member.handle.make.remote(unit, self._losses[unit.id] > 0)
            self._calls.add(failed, Making(unit, member, member.awaited, result, member.node))
            self._holding += 1

    def _start_commits(self) -> None:
        most = self._places.most(len(self.pool.members))
        while self._made and self._commits < most:
            making = self._made.popleft()
            claims = None if self.claims is None else {making.unit.id: self.claims[making.unit.id]}
            task = self._task_on(self._places.next(making.node))
            self._calls.add(task.remote(making.result, self.out, claims, self.log_format), Commit(making.unit))
            self._commits += 1

    def _task_on(self, node: str) -> Any:
        """The commit task for a node, or for another one if it is lost."""
        if node not in self._tasks:
            place = NodeAffinitySchedulingStrategy(node, soft=True)
            self._tasks[node] = self._task.options(scheduling_strategy=place)
        return self._tasks[node]

    def _handle(self, event: Member | Making | Commit, ended: Future[Any]) -> Iterator[UnitOutcome]:
        if isinstance(event, Making):
            yield from self._end_making(event, ended)
        elif isinstance(event, Commit):
            yield from self._end_commit(event, ended)
        elif event in self.pool.members:
            self.pool.arrive(event, ended.result())

    def _end_making(self, making: Making, ended: Future[Any]) -> Iterator[UnitOutcome]:
        self._holding -= 1
        self.pool.give_back(making.member)
        try:
            failed = ended.result()
        except ray.exceptions.RayTaskError as error:  # the actor lives
            failed = UnitOutcome(making.unit.id, 0, str(error))
        except ray.exceptions.RayError as error:
            self._lose(making, error)
            return
        self._unmade -= 1
        if failed is None:
            self._made.append(making)
        else:
            yield failed

    def _lose(self, making: Making, error: Exception) -> None:
        """Another actor makes the unit; the first unit that an actor loses tells that it was lost itself."""
        _LOG.warning("unit %s was lost, making it again: %s", making.unit.name, type(error).__name__)
        if not self._losses[making.unit.id]:
            self.record_start(making.unit.name, making.node)
        self._losses[making.unit.id] += 1
        self._again.append(making.unit)
        member = making.member
        if member.awaited is making.awaited and member in self.pool.members:
            self.pool.lose(member)
            self._calls.add(member.awaited, member)

    def _end_commit(self, commit: Commit, ended: Future[Any]) -> Iterator[UnitOutcome]:
        self._commits -= 1
        try:
            outcome = ended.result()
        except ray.exceptions.RayError as error:
            yield from self._commit_again(commit.unit, error)
        else:
            yield outcome

    def _commit_again(self, unit: Unit, error: Exception) -> Iterator[UnitOutcome]:
        """Its process died, or the unit was lost with a node before it was committed: it is made again."""
        self._uncommitted[unit.id] += 1
        if self._uncommitted[unit.id] > _RETRIES:
            yield UnitOutcome(unit.id, 0, f"lost {self._uncommitted[unit.id]} times before it was committed: {error}")
            return
        _LOG.warning("unit %s was lost before it was committed, making it again: %s", unit.name, type(error).__name__)
        self._again.append(unit)
        self._unmade += 1

    def _close(self) -> None:
        """End everything, also where the build ends early: nothing goes on behind its back."""
        self.pool.close()
        commits = [ref for ref, event in self._calls if isinstance(event, Commit)]
        with suppress(ray.exceptions.RayError):
            for ref in commits:
                ray.cancel(ref)
            if commits:
                ray.wait(commits, num_returns=len(commits), timeout=_CANCEL_S)
