"""The crash policy: suspects run alone, and what follows from the number of crashes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from dentgen.conditions.unit_records import EMPTY_QUARANTINE
from dentgen.errors import BuildError
from dentgen.pipeline.actors.crash_policy import UnitGate, quarantine_after_crashes
from tests.conftest import write_tar
from tests.pipeline.actors.two_units import SECONDS, until
from tests.poison import one_unit

Records = dict[str, dict[str, bytes]]


def test_units_share_an_actor() -> None:
    gate, both = UnitGate(), threading.Barrier(2)

    def work() -> None:
        with gate.enter(alone=False):
            both.wait(SECONDS)

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(work), pool.submit(work)]:
            future.result()


def test_a_suspect_has_the_actor_to_itself() -> None:
    """It waits for the unit that is inside, and holds back the one that comes after it."""
    gate, events = UnitGate(), list[str]()
    inside, leave, alone, end = (threading.Event() for _ in range(4))

    def first() -> None:
        with gate.enter(alone=False):
            inside.set()
            assert leave.wait(SECONDS)
            events.append("first left")

    def suspect() -> None:
        with gate.enter(alone=True):
            events.append("suspect entered")
            alone.set()
            assert end.wait(SECONDS)
            events.append("suspect left")

    def last() -> None:
        with gate.enter(alone=False):
            events.append("last entered")

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(first)]
        assert inside.wait(SECONDS)
        futures.append(pool.submit(suspect))
        assert until(lambda: gate._suspects)
        futures.append(pool.submit(last))
        assert not until(lambda: events, 0.1)
        leave.set()
        assert alone.wait(SECONDS)
        assert not until(lambda: "last entered" in events, 0.1)
        end.set()
        for future in futures:
            future.result()
    assert events == ["first left", "suspect entered", "suspect left", "last entered"]


def test_many_units_pass_and_no_suspect_meets_another() -> None:
    gate, lock, inside = UnitGate(), threading.Lock(), [0]

    def work(number: int) -> None:
        alone = number % 5 == 0
        with gate.enter(alone=alone):
            with lock:
                inside[0] += 1
                assert not alone or inside[0] == 1
            threading.Event().wait(0.002)
            with lock:
                assert not alone or inside[0] == 1
                inside[0] -= 1

    with ThreadPoolExecutor(20) as pool:
        for future in [pool.submit(work, number) for number in range(40)]:
            future.result()


def test_a_unit_that_raises_leaves_the_gate_open() -> None:
    gate = UnitGate()
    for alone in (True, False, True):
        with pytest.raises(ZeroDivisionError), gate.enter(alone=alone):
            raise ZeroDivisionError
    with gate.enter(alone=True):
        pass


def test_records_are_examined_from_the_second_crash_on_and_the_fourth_ends_it(
    tmp_path: Path, demo_members: Records
) -> None:
    key = min(demo_members)
    write_tar(tmp_path / "s" / "a.tar", {key: demo_members[key]})
    spec, unit, shard = one_unit(tmp_path / "s")
    changed = replace(unit, shard_bytes=5)  # examining its records fails
    for crashes in (0, 1):
        assert quarantine_after_crashes(spec, changed, shard, crashes) == EMPTY_QUARANTINE
    with pytest.raises(BuildError):
        quarantine_after_crashes(spec, changed, shard, 2)
    with pytest.raises(BuildError) as caught:
        quarantine_after_crashes(spec, unit, shard, 4)
    assert caught.value.key == "unit 000000"
    assert "4 processes" in caught.value.message
    assert "pipeline.actors" in caught.value.advice


def test_no_crashing_record_is_an_empty_quarantine(tmp_path: Path, demo_members: Records) -> None:
    key = min(demo_members)
    write_tar(tmp_path / "s" / "a.tar", {key: demo_members[key]})
    assert quarantine_after_crashes(*one_unit(tmp_path / "s"), 2) == EMPTY_QUARANTINE
