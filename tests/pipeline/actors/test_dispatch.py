"""The driver's loop, with a Ray whose calls end at once: every unit ends once, whatever is lost on the way.

tests/builds/test_elastic.py has the same with real clusters.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, ObjectLostError, RayTaskError, WorkerCrashedError

from dentgen.documents.ledger import LedgerRecord
from dentgen.documents.units import Unit
from dentgen.pipeline.actors import dispatch
from dentgen.pipeline.actors.dispatch import Dispatcher
from dentgen.pipeline.actors.placement import Node, Reservation
from dentgen.pipeline.actors.pool import ActorPool
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.ledger import UnitResult

NODE = "a" * 56
UNITS = [Unit(id=number, shard="a", start=number, stop=number + 1, records=1, shard_bytes=1) for number in range(40)]


@dataclass(eq=False)
class Ref:
    """A result, an error, or nothing yet."""

    value: Any
    there: bool = True
    taken: Callable[[], None] = lambda: None

    def future(self) -> Future[Any]:
        """As of a Ray ObjectRef."""
        future = Result(self.taken)
        if self.there and isinstance(self.value, Exception):
            future.set_exception(self.value)
        elif self.there:
            future.set_result(self.value)
        return future


class Result(Future[Any]):
    """A future that says when its result is taken."""

    def __init__(self, taken: Callable[[], None]) -> None:
        super().__init__()
        self._taken = taken

    def result(self, timeout: float | None = None) -> Any:
        self._taken()
        return super().result(timeout)


def result_of(unit: Unit) -> UnitResult:
    record = LedgerRecord(
        unit=unit.id, spec_digest="s", bundle_digest="b", shard="x", bytes=1, sha256="0", samples=(), timing=None
    )
    return UnitResult(b"x", record)


@dataclass
class FakeRay:
    """What the loop uses of Ray.

    Attributes:
        making: Errors that the next attempts to make a unit end with.
        committing: Errors that the next attempts to commit a unit end with.
        made: Per attempt to make a unit, whether it was said to be lost before.
        commits: How often each unit was committed.
        most_commits: Most commits at once.
        committed_on: Nodes of the commits.
        started: Starts of units that the monitor was told of.
    """

    exceptions = ray.exceptions
    making: defaultdict[int, list[Exception]] = field(default_factory=lambda: defaultdict(list))
    committing: defaultdict[int, list[Exception]] = field(default_factory=lambda: defaultdict(list))
    made: defaultdict[int, list[bool]] = field(default_factory=lambda: defaultdict(list))
    commits: Counter[int] = field(default_factory=Counter)
    committed_on: set[str] = field(default_factory=set)
    started: list[tuple[str, str]] = field(default_factory=list)
    killed: list[Any] = field(default_factory=list)
    cancelled: list[Any] = field(default_factory=list)
    running: int = 0
    most_commits: int = 0

    def wait(
        self, refs: list[Ref], *, num_returns: int = 1, timeout: float, fetch_local: bool = True
    ) -> tuple[list[Ref], list[Ref]]:
        ready = [ref for ref in refs if ref.there][:num_returns]
        return ready, [ref for ref in refs if ref not in ready]

    def commit_ended(self) -> None:
        self.running -= 1

    def remote(self, **options: Any) -> Callable[[Any], FakeRay]:
        assert options["num_cpus"] == 0
        return self.with_commit

    def with_commit(self, commit: Any) -> FakeRay:
        self.commit = commit
        return self

    def options(self, scheduling_strategy: Any) -> Any:
        self.committed_on.add(scheduling_strategy.node_id)
        assert scheduling_strategy.soft
        return Task(self)

    def kill(self, handle: Any) -> None:
        self.killed.append(handle)

    def cancel(self, ref: Ref) -> None:
        self.cancelled.append(ref)


@dataclass
class Task:
    """A commit task."""

    ray: FakeRay

    def remote(self, made: Ref, out: str, claims: Any, log_format: str) -> Ref:
        result = made.value
        self.ray.commits[result.record.unit] += 1
        errors = self.ray.committing[result.record.unit]
        if errors:
            return Ref(errors.pop(0))
        self.ray.running += 1
        self.ray.most_commits = max(self.ray.most_commits, self.ray.running)
        return Ref(self.ray.commit(result, out, claims, log_format), taken=self.ray.commit_ended)


class Handle:
    """An actor."""

    def __init__(self, fake: FakeRay) -> None:
        self._ray = fake
        self.ready = self.make = self.stop = self

    def remote(self, unit: Unit | None = None, lost_before: bool = False) -> Any:
        if unit is None:
            return Ref(NODE)
        self._ray.made[unit.id].append(lost_before)
        errors = self._ray.making[unit.id]
        return Ref(errors.pop(0) if errors else None), Ref(result_of(unit))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setattr(dispatch, "ray", fake)
    monkeypatch.setattr(ray, "kill", fake.kill)
    return fake


def commit(result: UnitResult, out: str, claims: Any, log_format: str) -> UnitOutcome:
    assert log_format == "json", "as the driver logs"
    assert claims is None or list(claims) == [result.record.unit]
    return UnitOutcome(result.record.unit, 1)


def dispatcher(fake: FakeRay, lost: list[str], claims: Any = None, actors: int = 3) -> Dispatcher:
    pool = ActorPool(lambda name: Handle(fake), lost.append, lambda _: None, Reservation(0, 1), actors, actors, 6)
    nodes = [Node(NODE, 2, actors)]

    def record_start(work: str, node: str) -> None:
        fake.started.append((work, node))

    return Dispatcher(UNITS, pool, "/out", claims, record_start, "json", lambda: nodes, commit)


def outcomes(found: Dispatcher) -> dict[int, UnitOutcome]:
    ended = list(found.outcomes())
    assert len({outcome.unit for outcome in ended}) == len(ended) == len(UNITS), "every unit ends once"
    return {outcome.unit: outcome for outcome in ended}


def test_every_unit_is_made_and_committed_once_and_nothing_is_left(fake: FakeRay) -> None:
    found = dispatcher(fake, [])
    assert all(outcome.samples == 1 for outcome in outcomes(found).values())
    assert set(fake.commits.values()) == {1}
    assert all(attempts == [False] for attempts in fake.made.values())
    assert fake.started == [], "a unit that is never lost costs the monitor nothing"
    assert fake.most_commits <= 4, "commits are bounded"
    assert fake.committed_on == {NODE}
    assert found.pool.members == []
    assert len(found._calls) == 0


@pytest.mark.parametrize("error", [ActorDiedError(), ActorUnavailableError("gone", None)])
def test_units_of_a_lost_actor_are_made_again(fake: FakeRay, error: Exception) -> None:
    fake.making[3], fake.making[4], fake.making[5] = [error], [error, error], [error] * 9
    lost: list[str] = []
    assert all(outcome.samples == 1 for outcome in outcomes(dispatcher(fake, lost)).values())
    assert fake.made[3] == [False, True]
    assert fake.made[4] == [False, True, True]
    assert len(fake.made[5]) == 10, "a lost node is no fault of a unit"
    assert fake.made[6] == [False]
    assert sorted(fake.started) == [(f"{unit:06d}", NODE) for unit in (3, 4, 5)], "actors record all but the first"
    assert lost
    assert set(lost) <= {"actor 0", "actor 1", "actor 2"}


def test_an_error_of_a_call_whose_actor_lives_fails_its_unit(fake: FakeRay) -> None:
    fake.making[3] = [RayTaskError("make", "planted", ValueError("planted"))]  # type: ignore[no-untyped-call]
    lost: list[str] = []
    found = outcomes(dispatcher(fake, lost))
    assert "planted" in found[3].error
    assert (fake.made[3], lost) == ([False], [])


def test_an_actor_that_lost_several_units_was_lost_once(fake: FakeRay) -> None:
    for number in range(6):
        fake.making[number] = [ActorUnavailableError("gone", None)]
    lost: list[str] = []
    outcomes(dispatcher(fake, lost, actors=1))
    assert lost == ["actor 0"]


@pytest.mark.parametrize("error", [WorkerCrashedError(), ObjectLostError("0" * 56, None, "")])
def test_a_unit_lost_before_it_was_committed_is_made_again_three_times(fake: FakeRay, error: Exception) -> None:
    fake.committing[3], fake.committing[4] = [error] * 3, [error] * 4
    found = outcomes(dispatcher(fake, []))
    assert (found[3].samples, found[3].error) == (1, "")
    assert found[4].samples == 0
    assert "4 times" in found[4].error
    assert not found[4].fatal
    assert (len(fake.made[3]), fake.commits[3]) == (4, 4)


def test_a_commit_gets_what_is_known_of_its_own_unit(fake: FakeRay) -> None:
    claims = {unit.id: {"sha"} for unit in UNITS}
    outcomes(dispatcher(fake, [], claims))


def test_an_actor_that_will_not_start_ends_the_build(fake: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handle, "remote", lambda *_: Ref(ActorDiedError()))
    found = dispatcher(fake, [])
    with pytest.raises(ActorDiedError):
        list(found.outcomes())
    assert len(fake.killed) == 3, "the others end with it"


def test_a_build_that_is_left_early_cancels_its_commits_and_kills_its_actors(fake: FakeRay) -> None:
    found = dispatcher(fake, [])
    running = found.outcomes()
    next(running)
    running.close()
    assert len(fake.killed) == 3
    assert fake.cancelled


def test_units_are_not_made_while_commits_fall_behind(fake: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    """No commit ends, so actors stop when enough waits for one."""
    monkeypatch.setattr(Task, "remote", lambda task, *_: Ref(None, there=False))
    monkeypatch.setattr(dispatch, "_LOOK_S", 0.001)
    found, looks = dispatcher(fake, []), count()

    def look() -> list[Node]:
        if next(looks) > 50:
            raise TimeoutError
        return [Node(NODE, 2, 3)]

    found.look = look
    with pytest.raises(TimeoutError):
        list(found.outcomes())
    assert 0 < len(fake.made) < len(UNITS)


def test_no_unit_is_made_before_it_may_begin(fake: FakeRay) -> None:
    found, asked = dispatcher(fake, []), list[int]()

    def may_begin(pool: ActorPool) -> bool:
        asked.append(len(fake.made))
        return sum(bool(member.node) for member in pool.members) == 3

    found.may_begin = may_begin
    outcomes(found)
    assert asked[:2] == [0, 0], "no actor is ready at first"
