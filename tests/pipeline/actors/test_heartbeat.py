"""Heartbeats: what the monitor remembers of actors and of their work."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from dentgen.pipeline.actors.heartbeat import Beat, HeartbeatMonitor

BEAT = Beat("here process 1", up_seconds=50, busy_seconds=40, ticks=100, longest_tick=1.0)


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The monitor as a plain object, in a cluster of one node, ``alive``."""
    monkeypatch.setattr(ray, "nodes", lambda: [{"NodeID": "alive", "Alive": True}, {"NodeID": "lost", "Alive": False}])
    return HeartbeatMonitor.__ray_metadata__.modified_class()  # type: ignore[attr-defined]  # of Ray's decorator


def test_a_dismissed_actor_is_watched_no_more(monitor: Any) -> None:
    """Whatever of it was on its way; one that is only forgotten may come back."""
    for actor in ("ended", "lost"):
        monitor.beat(actor, BEAT, "handle")
    monitor.dismiss("ended")
    monitor.forget("lost")
    assert monitor.read() == {}
    for actor in ("ended", "lost"):
        monitor.beat(actor, BEAT, "handle")
    assert list(monitor.read()) == ["lost"]


def test_work_that_never_ended_is_a_crash(monitor: Any) -> None:
    assert monitor.crashes("000000") == 0
    monitor.begin("000000", "alive")
    monitor.begin("000001", "alive")
    monitor.begin("000000", "alive")
    assert (monitor.crashes("000000"), monitor.crashes("000001")) == (2, 1)
    monitor.end("000000")
    assert (monitor.crashes("000000"), monitor.crashes("000001")) == (0, 1)


def test_work_that_was_lost_with_its_node_is_no_crash(monitor: Any) -> None:
    monitor.begin("000000", "lost")
    assert monitor.crashes("000000") == 0
    monitor.begin("000000", "alive")
    assert monitor.crashes("000000") == 1


def test_the_last_heartbeat_of_every_actor_is_kept(monitor: Any) -> None:
    monitor.beat("a", Beat("here", ticks=1), "handle")
    monitor.beat("a", Beat("here", ticks=2), "handle")
    monitor.beat("b", Beat("there"), "other")
    found = monitor.read()
    assert {actor: beat.ticks for actor, (_, beat) in found.items()} == {"a": 2, "b": 0}
    assert all(silence >= 0 for silence, _ in found.values())
    assert [monitor.handle(actor) for actor in ("a", "b", "c")] == ["handle", "other", None]
    monitor.forget("a")
    monitor.forget("a")
    assert list(monitor.read()) == ["b"]
    assert monitor.handle("a") is None
