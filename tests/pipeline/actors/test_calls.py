"""Calls under way: each end is told once, in order, whether it came before or after one began to wait."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest
import ray

from dentgen.pipeline.actors.calls import Calls


class Call:
    """A call whose end a test decides."""

    def __init__(self) -> None:
        self.over = Future[Any]()

    def future(self) -> Future[Any]:
        return self.over


def told(calls: Calls[str], seconds: float = 0.0) -> list[str]:
    return [event for event, _ in calls.ended(seconds)]


def test_every_end_is_told_once_in_order() -> None:
    calls, one, two, three = Calls[str](), Call(), Call(), Call()
    two.over.set_result(2)
    for call, event in ((one, "one"), (two, "two"), (three, "three")):
        calls.add(call, event)
    assert ([event for _, event in calls], told(calls)) == (["one", "two", "three"], ["two"])
    three.over.set_exception(ValueError("planted"))
    one.over.set_result(1)
    ended = dict(calls.ended(0))
    assert list(ended) == ["three", "one"]
    assert ended["one"].result() == 1
    with pytest.raises(ValueError, match="planted"):
        ended["three"].result()
    assert (told(calls), len(calls)) == ([], 0)


def test_the_first_end_is_waited_for_and_no_longer_than_asked() -> None:
    calls, call = Calls[str](), Call()
    calls.add(call, "late")
    began = time.monotonic()
    assert told(calls, 0.05) == []
    assert time.monotonic() - began >= 0.05
    threading.Timer(0.05, lambda: call.over.set_result(None)).start()
    assert told(calls, 30) == ["late"]
    assert time.monotonic() - began < 20


def test_what_is_not_handled_yet_is_still_under_way() -> None:
    """Whoever ends in the middle ends the others, too."""
    calls = Calls[str]()
    for event in ("a", "b"):
        call = Call()
        call.over.set_result(None)
        calls.add(call, event)
    for event, _ in calls.ended(0):
        assert [left for _, left in calls] == ["b"][: event == "a"]


@ray.remote(num_cpus=0)
def answer(number: int) -> int:
    if number < 0:
        raise ValueError(number)
    return number


@pytest.mark.ray
@pytest.mark.slow
def test_ray_tells_of_results_and_errors(ray_local: None) -> None:
    calls, found = Calls[int](), dict[int, Any]()
    for number in range(-1, 3):
        calls.add(answer.remote(number), number)
    while calls:
        found |= dict(calls.ended(60))
    assert {number: found[number].result() for number in range(3)} == {0: 0, 1: 1, 2: 2}
    with pytest.raises(ray.exceptions.RayTaskError):
        found[-1].result()
