"""The pool of actors: how many it asks for, which hold units, and what becomes of those that are lost or not needed."""

from __future__ import annotations

import gc
import logging
import weakref
from dataclasses import dataclass, field
from typing import Any

import pytest
import ray

from dentgen.pipeline.actors import pool as pool_module
from dentgen.pipeline.actors.placement import Node, Reservation
from dentgen.pipeline.actors.pool import ActorPool, Member


@dataclass
class Remote:
    """A remote method that counts its calls."""

    calls: int = 0

    def remote(self) -> object:
        self.calls += 1
        return object()


@dataclass
class Handle:
    """A handle of an actor."""

    ready: Remote = field(default_factory=Remote)
    stop: Remote = field(default_factory=Remote)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    killed: list[Any] = []
    monkeypatch.setattr(ray, "kill", killed.append)
    return killed


def gpus(*numbers: float) -> list[Node]:
    return [Node(f"n{place}", 4, number) for place, number in enumerate(numbers)]


def pool_of(fewest: int, most: int, units_each: int = 6, dismissed: list[str] | None = None) -> ActorPool:
    dismiss = ([] if dismissed is None else dismissed).append
    return ActorPool(lambda name: Handle(), lambda _: None, dismiss, Reservation(0, 1), fewest, most, units_each)


def arrived(pool: ActorPool, nodes: list[Node], waiting: int = 1000) -> list[Member]:
    pool.scale(nodes, waiting)
    for member in pool.members:
        pool.arrive(member, nodes[0].id)
    return pool.members


@pytest.mark.parametrize(
    ("fewest", "most", "nodes", "waiting", "asked"),
    [
        (4, 4, gpus(1), 1000, 4),  # a number is asked for, whatever room there is
        (4, 4, gpus(8, 8), 1000, 4),
        (1, 64, gpus(2, 4), 1000, 6),
        (1, 4, gpus(2, 4), 1000, 4),
        (2, 64, gpus(0), 1000, 2),  # so that a cluster that scales by demand has a demand
        (4, 4, gpus(4), 3, 3),  # no more than there are units
        (1, 64, gpus(8), 1, 1),
    ],
)
def test_actors_are_asked_for_all_at_once(
    fewest: int, most: int, nodes: list[Node], waiting: int, asked: int, killed: list[Any]
) -> None:
    pool = pool_of(fewest, most)
    assert len(pool.scale(nodes, waiting)) == asked
    assert len(pool.members) == asked
    assert pool.scale(nodes, waiting) == []
    assert killed == []


def test_a_pool_grows_with_its_cluster_and_withdraws_what_has_no_place(killed: list[Any]) -> None:
    dismissed: list[str] = []
    pool = pool_of(1, 5, dismissed=dismissed)
    (first,) = arrived(pool, gpus(1))
    assert len(pool.scale(gpus(1, 2), 1000)) == 2
    assert len(pool.scale(gpus(1, 2, 9), 1000)) == 2
    waiting = pool.members[1:]
    assert pool.scale(gpus(1), 1000) == []
    assert pool.members == [first]
    assert killed == [member.handle for member in waiting]
    assert dismissed == ["actor 1", "actor 2", "actor 3", "actor 4"], "their silence is no fault"


def test_actors_that_hold_units_stay_when_room_is_less(killed: list[Any]) -> None:
    pool = pool_of(1, 4)
    members = arrived(pool, gpus(2))
    assert [pool.take_free(1000) for _ in range(2)] == members
    pool.scale(gpus(1), 1000)
    assert pool.members == members


@pytest.mark.integration
def test_idle_actors_end_by_themselves_when_nothing_is_left_for_them(killed: list[Any]) -> None:
    dismissed: list[str] = []
    pool = pool_of(3, 3, dismissed=dismissed)
    one, two, three = arrived(pool, gpus(3))
    assert pool.take_free(1) is one
    pool.scale(gpus(3), 0)
    assert pool.members == [one]
    assert dismissed == ["actor 1", "actor 2"], "one may be lost before it signs off itself"
    assert (killed, one.handle.stop.calls, two.handle.stop.calls, three.handle.stop.calls) == ([], 0, 1, 1)
    gone = [weakref.ref(member.handle) for member in (two, three)]
    del two, three
    gc.collect()
    assert [reference() for reference in gone] == [None, None], "a handle keeps its actor, and so its GPU"
    assert pool.take_free(1000) is one, "the others are free no more"
    assert len(pool.scale(gpus(3), 2)) == 2, "a unit was lost, so they are needed again"


def test_units_go_to_actors_in_turn_up_to_their_limit(killed: list[Any]) -> None:
    pool = pool_of(2, 2, units_each=2)
    assert pool.take_free(1000) is None, "none is there yet"
    one, two = arrived(pool, gpus(2))
    assert [pool.take_free(1000) for _ in range(5)] == [one, two, one, two, None]
    pool.give_back(two)
    assert [pool.take_free(1000) for _ in range(2)] == [two, None]


def test_the_last_units_are_shared_with_actors_that_still_start(killed: list[Any]) -> None:
    pool = pool_of(2, 2)
    pool.scale(gpus(2), 4)
    first, second = pool.members
    pool.arrive(first, "n0")
    assert [pool.take_free(4) for _ in range(3)] == [first, first, None]
    pool.arrive(second, "n1")
    assert [pool.take_free(4) for _ in range(3)] == [second, second, None]


def test_actors_without_a_place_take_no_share(killed: list[Any]) -> None:
    pool = pool_of(2, 2)
    pool.scale(gpus(1), 4)
    first = pool.members[0]
    pool.arrive(first, "n0")
    assert [pool.take_free(4) for _ in range(4)] == [first] * 4


def test_a_lost_actor_gets_no_units_until_it_is_ready_again(killed: list[Any]) -> None:
    pool = pool_of(2, 2)
    one, two = arrived(pool, gpus(2))
    awaited = one.awaited
    assert [pool.take_free(1000) for _ in range(2)] == [one, two]
    pool.give_back(one)
    pool.lose(one)
    assert one.awaited is not awaited
    assert [pool.take_free(1000) for _ in range(2)] == [two, two]
    pool.arrive(one, "n7")
    assert one in [pool.take_free(1000) for _ in range(2)]
    assert killed == []


def test_closing_ends_every_actor_at_once(killed: list[Any]) -> None:
    dismissed: list[str] = []
    pool = pool_of(3, 3, dismissed=dismissed)
    handles = [member.handle for member in arrived(pool, gpus(2))]
    pool.close()
    assert killed == handles
    assert dismissed == ["actor 0", "actor 1", "actor 2"], "nobody is to take them for stalled"
    assert pool.take_free(1000) is None


def test_a_cluster_without_room_is_told_of(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(pool_module, "_WARN_EVERY_S", -1.0)
    with caplog.at_level(logging.WARNING):
        pool_of(1, 1).scale(gpus(1), 5)
        assert not caplog.records
        pool_of(1, 1).scale(gpus(0), 5)
    (record,) = caplog.records
    assert "1 GPU" in record.getMessage()
