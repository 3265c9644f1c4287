"""The plain actor of a pool: a thin shell around an actor's work."""

from __future__ import annotations

from typing import Any, cast

import pytest
import ray

from dentgen.documents.units import Unit
from dentgen.pipeline.actors import pool_actor
from dentgen.pipeline.actors.pool_actor import PoolActor
from dentgen.pipeline.unit_outcome import UnitOutcome

UNIT = Unit(id=0, shard="a.tar", start=0, stop=1, records=1, shard_bytes=9)


class FakeWork:
    """Makes what it was started with."""

    def __init__(self, made: Any) -> None:
        self.made, self.asked, self.stopped = made, list[bool](), 0

    def make(self, unit: Unit, *, suspect: bool) -> Any:
        self.asked.append(suspect)
        return self.made

    def stop(self) -> None:
        self.stopped += 1


def test_a_unit_is_a_failure_or_something_to_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_actor, "ActorWork", FakeWork)
    failed, actor_of = UnitOutcome(0, 0, "planted"), cast("Any", PoolActor)
    assert actor_of(failed).make(UNIT, False) == (failed, None)
    actor = actor_of("a result")
    assert [actor.make(UNIT, lost_before) for lost_before in (True, False)] == [(None, "a result")] * 2
    actor.stop()
    work: Any = actor._work
    assert (work.asked, work.stopped) == ([True, False], 1)


def test_ray_retries_no_unit_by_itself() -> None:
    """It would wait for the same actor, which may never be restarted; only the question whether it is ready waits."""
    about = cast("Any", ray.remote(PoolActor)).__ray_metadata__
    assert about.max_task_retries == 0
    assert about.method_meta.max_task_retries == {"ready": -1}
    assert about.method_meta.num_returns["make"] == 2
