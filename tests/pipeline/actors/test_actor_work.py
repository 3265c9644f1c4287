"""An actor's work: errors are outcomes, attempts are numbered, crashes are asked for only where there may be some."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dentgen.benchmark.instant_backend import InstantBackend
from dentgen.documents.samples import SampleStatus
from dentgen.documents.units import Unit
from dentgen.errors import BuildError
from dentgen.pipeline.actors import actor_work
from dentgen.pipeline.actors.actor_work import ActorWork
from dentgen.pipeline.actors.heartbeat import Beat
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.ledger import UnitResult
from dentgen.shards.plan import BuildLocation
from tests.report.fake_builds import fake_plan

UNITS = [Unit(id=number, shard="a.tar", start=number, stop=number + 1, records=1, shard_bytes=9) for number in range(3)]


class FakeHeartbeat:
    """A heartbeat without Ray: every unit has crashed twice."""

    def __init__(self, monitor: str, name: str) -> None:
        assert (monitor, name) == ("monitor", "actor 0")
        self._log = FakeMetrics.log

    def ready(self, read: Callable[[Beat], Beat], note: Callable[[Beat], object]) -> None:
        self._log.append("ready")
        note(read(Beat("here", up_seconds=1, ticks=7)))

    def crashes(self, work: str) -> int:
        self._log.append(f"asked for {work}")
        return 2

    @contextmanager
    def tracking(self, work: str) -> Iterator[int]:
        self._log.append(f"began {work}")
        yield 3
        self._log.append(f"ended {work}")

    def stop(self) -> None:
        self._log.append("stopped")


class FakeMetrics:
    """Metrics without Ray: they go where heartbeats do."""

    log: list[str]

    def beat(self, beat: Beat, waits: list[float]) -> None:
        self.log.append(f"{beat.ticks} ticks, waits {waits}")

    def unit(self, attempt: int) -> None:
        self.log.append(f"attempt {attempt}")

    def encoded(self, seconds: float) -> None:
        self.log.append(f"encoded in {seconds}")

    def stopped(self) -> None:
        self.log.append("metrics stopped")


class Backend(InstantBackend):
    """Knows the crashes of units; fails at unit 1, and dies at unit 2."""

    crashed: dict[int, int]

    def make(self, unit: Unit, crashes: int) -> UnitResult:
        self.crashed = {unit.id: crashes}
        if unit.id:
            self.dead = unit.id > 1
            raise BuildError("planted") if unit.id == 1 else MemoryError("planted")
        return super().make(unit, crashes)

    def take_waits(self) -> list[float]:
        return [0.5]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    FakeMetrics.log = []
    monkeypatch.setattr(actor_work, "Heartbeat", FakeHeartbeat)
    monkeypatch.setattr(actor_work, "ActorMetrics", FakeMetrics)
    return FakeMetrics.log


@pytest.fixture
def work(log: list[str]) -> Any:
    return ActorWork(fake_plan(), BuildLocation("/in", "/out"), "monitor", Backend, "text", "actor 0")


def test_a_suspect_is_made_between_two_marks_and_its_attempt_is_recorded(work: Any, log: list[str]) -> None:
    made = work.make(UNITS[0])
    assert (made.record.unit, made.record.timing.attempt) == (0, 3)
    assert work._backend.crashed == {0: 2}
    work.stop()
    assert log == [
        "ready", "7 ticks, waits [0.5]", "asked for 000000", "began 000000", "attempt 3", "encoded in 0.0",
        "ended 000000", "stopped", "metrics stopped",
    ]  # fmt: skip


def test_of_a_unit_that_is_no_suspect_the_monitor_hears_nothing(work: Any, log: list[str]) -> None:
    made = work.make(UNITS[0], suspect=False)
    assert (made.record.unit, made.record.timing.attempt) == (0, 1)
    assert work._backend.crashed == {0: 0}
    assert log[2:] == ["attempt 1", "encoded in 0.0"]


def test_errors_are_outcomes(work: Any, log: list[str]) -> None:
    assert work.make(UNITS[1]) == UnitOutcome(1, 0, "planted")
    failed = work.make(UNITS[2])
    assert (failed.unit, failed.fatal) == (2, True)
    assert "MemoryError" in failed.error
    assert log[-1] == "ended 000002"


def test_what_became_of_a_unit_is_logged_with_its_rejected_samples(work: Any, caplog: pytest.LogCaptureFixture) -> None:
    def rejecting(unit: Unit, crashes: int) -> UnitResult:
        made = InstantBackend.make(work._backend, unit, crashes)
        rejected = SampleStatus(key="k", source_key="k", variant=0, status="rejected", reason="planted")
        return UnitResult(made.shard, made.record.model_copy(update={"samples": (rejected,)}))

    work._backend.make = rejecting
    with caplog.at_level(logging.INFO, "dentgen.pipeline.actors.actor_work"):
        work.make(UNITS[0])
    first, second = caplog.records
    assert (first.getMessage(), vars(first)["key"]) == ("rejected: planted", "k")
    assert "1 rejected" in second.getMessage()
