"""The watchdog: what counts as stalled, and that it kills a silent actor."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

import pytest
import ray

from dentgen.pipeline.actors.heartbeat import Beat, Heartbeat
from dentgen.pipeline.actors.watchdog import ActorReport, Watchdog, stalled
from tests.pipeline.actors.two_units import until

BEAT = Beat("here process 1", up_seconds=50, busy_seconds=40, ticks=100, longest_tick=1.0)

#: Seconds of silence, heartbeat, and facts of the complaint; none if all is well.
STALLS: dict[str, tuple[float, Beat, tuple[str, ...]]] = {
    "a heartbeat just now": (1, BEAT, ()),
    "silence as long as tolerated": (30, BEAT, ()),
    "silence for longer": (31, BEAT, ("here process 1", "31 s")),
    "a tick that hangs": (1, Beat("here", up_seconds=9, ticks=3, longest_tick=1, tick_seconds=31), ("here", "31 s")),
    "a slow tick of an engine whose ticks are slow": (
        1, Beat("here", up_seconds=9, ticks=3, longest_tick=20, tick_seconds=150), (),
    ),
    "a first tick that may compile": (1, Beat("here", up_seconds=9, ticks=0, tick_seconds=300), ()),
    "a first tick that takes forever": (1, Beat("here", up_seconds=9, ticks=0, tick_seconds=601), ("here", "601 s")),
    "models that take long to load": (1, Beat("here", starting_seconds=1700), ()),
    "models that take forever to load": (1, Beat("here", starting_seconds=1801), ("here", "1801 s")),
}  # fmt: skip


@pytest.mark.parametrize("case", STALLS)
def test_what_counts_as_stalled(case: str) -> None:
    silence, beat, facts = STALLS[case]
    complaint = stalled(silence, beat, 30)
    assert bool(complaint) == bool(facts)
    assert all(fact in complaint for fact in facts)


def test_a_report_is_one_line() -> None:
    assert BEAT.busy_share == 0.8
    assert Beat("here").busy_share == 0
    line = str(ActorReport(BEAT, 12.34))
    assert all(fact in line for fact in ("here process 1", "12.3 s", "80%"))
    assert "here" in str(ActorReport(Beat("here"), None))


@ray.remote(num_cpus=0, max_restarts=1, max_task_retries=1)
class Worker:
    """An actor with a heartbeat that works, crashes or falls silent."""

    def __init__(self, monitor: str) -> None:
        self.heartbeat = Heartbeat(monitor)
        self.heartbeat.ready(lambda beat: beat)

    def process(self) -> int:
        return os.getpid()

    def crashes(self, work: str) -> int:
        return self.heartbeat.crashes(work)

    def raise_in(self, work: str) -> None:
        with self.heartbeat.tracking(work):
            raise ZeroDivisionError

    def freeze_once(self, happened: str) -> int:
        """Stop this process the first time: its connections stay, and nothing comes from it any more."""
        if not Path(happened).exists():
            Path(happened).touch()
            with self.heartbeat.tracking("frozen"):
                os.kill(os.getpid(), signal.SIGSTOP)
        return os.getpid()


@pytest.mark.slow
@pytest.mark.ray
def test_a_silent_actor_is_killed_and_its_work_is_retried(
    tmp_path: Path, ray_local: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), Watchdog(5) as watchdog:
        worker = Worker.remote(watchdog.monitor)  # type: ignore[attr-defined]  # of Ray's decorator
        first = ray.get(worker.process.remote())
        with pytest.raises(ray.exceptions.RayTaskError):
            ray.get(worker.raise_in.remote("raised"))
        second = ray.get(worker.freeze_once.remote(str(tmp_path / "happened")), timeout=120)
        assert second != first
        assert ray.get([worker.crashes.remote(work) for work in ("raised", "frozen")]) == [0, 1]
        assert until(lambda: any(str(second) in place for place in watchdog.last), 20)
        ray.kill(worker)
    assert watchdog.failure == ""
    assert any(f"process {first}" in record.getMessage() for record in caplog.records)


@pytest.mark.slow
@pytest.mark.ray
def test_actors_start_and_are_watched_after_the_monitor_was_lost(ray_local: None) -> None:
    with Watchdog(60) as watchdog:
        ray.kill(ray.get_actor(watchdog.monitor), no_restart=False)
        worker = Worker.remote(watchdog.monitor)  # type: ignore[attr-defined]  # of Ray's decorator
        process = ray.get(worker.process.remote(), timeout=120)
        assert until(lambda: any(str(process) in place for place in watchdog.last), 30)
        ray.kill(worker)
    assert watchdog.failure == ""
