"""The actor that generates units: errors are outcomes, crashes are asked for only where there may be some."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import ray

from dentgen.benchmark.instant_backend import InstantBackend
from dentgen.documents import Unit
from dentgen.errors import BuildError
from dentgen.pipeline.actors import unit_maker
from dentgen.pipeline.actors.commit_stage import UnitOutcome
from dentgen.pipeline.actors.unit_maker import UnitMaker
from dentgen.shards.ledger import UnitResult
from dentgen.shards.plan import BuildLocation
from tests.report.fake_builds import fake_plan

UNITS = [Unit(id=number, shard="a.tar", start=number, stop=number + 1, records=1, shard_bytes=9) for number in range(3)]


class FakeHeartbeat:
    """A heartbeat without Ray: every unit has crashed twice."""

    def __init__(self, log: list[str], name: str) -> None:
        assert name == "actor 0"
        self._log = log

    def ready(self, read: object) -> None:
        self._log.append("ready")

    def crashes(self, work: str) -> int:
        self._log.append(f"asked for {work}")
        return 2

    @contextmanager
    def tracking(self, work: str) -> Iterator[None]:
        self._log.append(f"began {work}")
        yield
        self._log.append(f"ended {work}")

    def stop(self) -> None:
        self._log.append("stopped")


class Backend(InstantBackend):
    """Knows the crashes of units; fails at unit 1, and dies at unit 2."""

    crashed: dict[int, int]

    def make(self, unit: Unit, crashes: int) -> UnitResult:
        self.crashed = {unit.id: crashes}
        if unit.id:
            self.dead = unit.id > 1
            raise BuildError("planted") if unit.id == 1 else MemoryError("planted")
        return super().make(unit, crashes)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(unit_maker, "Heartbeat", FakeHeartbeat)
    return []


@pytest.fixture
def maker(log: list[str]) -> Any:
    return UnitMaker(fake_plan(), BuildLocation("/in", "/out"), log, Backend, "actor 0")


def test_a_unit_is_made_between_two_marks(maker: Any, log: list[str]) -> None:
    failed, result = maker.make(UNITS[0], False)
    assert failed is None
    assert result.record.unit == 0
    assert maker._backend.crashed == {0: 0}
    maker.stop()
    assert log == ["ready", "began 000000", "ended 000000", "stopped"]


def test_only_what_was_lost_before_may_have_crashed_a_process(maker: Any, log: list[str]) -> None:
    maker.make(UNITS[0], True)
    assert maker._backend.crashed == {0: 2}
    assert log[1:] == ["asked for 000000", "began 000000", "ended 000000"]


def test_errors_are_outcomes(maker: Any, log: list[str]) -> None:
    assert maker.make(UNITS[1], False) == (UnitOutcome(1, 0, "planted"), None)
    failed, result = maker.make(UNITS[2], False)
    assert (failed.unit, failed.fatal, result) == (2, True, None)
    assert "MemoryError" in failed.error
    assert log[-1] == "ended 000002"


def test_ray_retries_no_unit_by_itself() -> None:
    """It would wait for the same actor, which may never be restarted; only the question whether it is ready waits."""
    about = ray.remote(UnitMaker).__ray_metadata__
    assert about.max_task_retries == 0
    assert about.method_meta.max_task_retries == {"ready": -1}
    assert about.method_meta.num_returns["make"] == 2
