"""The callable of Ray Data: a thin shell around an actor's work, whose rows a commit takes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dentgen.benchmark.instant_backend import InstantBackend
from dentgen.documents.units import Unit
from dentgen.pipeline.actors import unit_maker
from dentgen.pipeline.actors.commit_stage import commit_made, outcome_of
from dentgen.pipeline.actors.unit_maker import UnitMaker
from dentgen.pipeline.unit_outcome import UnitOutcome
from dentgen.shards.plan import BuildLocation
from tests.report.fake_builds import fake_plan

UNIT = Unit(id=4, shard="a.tar", start=0, stop=1, records=1, shard_bytes=9)


class FakeWork:
    """Makes what it was started with; no unit is known not to be a suspect."""

    stopped = 0

    def __init__(self, made: Any) -> None:
        if made is None:
            raise MemoryError("planted")
        self._made = made

    def make(self, unit: Unit) -> Any:
        assert unit == UNIT
        return self._made

    def stop(self) -> None:
        FakeWork.stopped += 1


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeWork.stopped = 0
    monkeypatch.setattr(unit_maker, "ActorWork", FakeWork)


def committed(made: Any, out: Path) -> UnitOutcome:
    row = asyncio.run(UnitMaker(made)({"unit": np.array([json.dumps(asdict(UNIT))], dtype=object)}))
    assert {len(values) for values in row.values()} == {1}
    batch = {name: np.array(values, dtype=object) for name, values in row.items()}
    result = commit_made(batch, str(out), None)
    return outcome_of({name: value for name, (value,) in result.items()})


def test_a_made_unit_is_a_row_that_a_commit_takes(tmp_path: Path) -> None:
    made = InstantBackend(fake_plan(), BuildLocation("/in", "/out")).make(UNIT, crashes=0)
    assert committed(made, tmp_path) == UnitOutcome(4, 1, bytes=len(made.shard))
    assert (tmp_path / "shards" / "000004.tar").read_bytes() == made.shard


def test_a_failed_unit_is_a_row_of_which_nothing_is_committed(tmp_path: Path) -> None:
    failed = UnitOutcome(4, 0, "planted", fatal=True)
    assert committed(failed, tmp_path) == failed
    assert list(tmp_path.iterdir()) == []


def test_an_actor_that_is_dropped_signs_off() -> None:
    maker = UnitMaker("anything")
    assert FakeWork.stopped == 0
    del maker
    assert FakeWork.stopped == 1


def test_an_actor_that_did_not_start_has_nothing_to_sign_off() -> None:
    with pytest.raises(MemoryError):
        UnitMaker(None)
    assert FakeWork.stopped == 0
