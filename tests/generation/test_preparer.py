"""A thread that works ahead: in order, bounded, with errors in their place, without a trace in the caller's process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest
import torch

from dentgen.generation.preparer import Preparer
from dentgen.generation.threads import torch_threads


def pairs(number: int) -> list[int]:
    return [2 * number, 2 * number + 1]


def test_results_come_in_order_and_one_by_one() -> None:
    with Preparer(1) as preparer:
        assert list(preparer.ahead(pairs, range(50))) == list(range(100))
        assert list(preparer.ahead(pairs, [])) == []


def test_work_is_done_ahead_of_the_taker_and_never_far() -> None:
    """While the first result of a group is held, the group behind it is ready and no other one has been read."""
    read, done = list[int](), list[int]()

    def items() -> Iterator[int]:
        for number in range(10):
            read.append(number)
            yield number

    def work(number: int) -> list[int]:
        done.append(number)
        return pairs(number)

    with Preparer(1) as preparer:
        results = preparer.ahead(work, items())
        assert next(results) == 0
        preparer.submit(lambda: None).result(30)
        assert (read, done) == ([0, 1], [0, 1])
        assert [next(results) for _ in range(2)] == [1, 2]
        preparer.submit(lambda: None).result(30)
        assert (read, done) == ([0, 1, 2], [0, 1, 2])


def test_an_error_comes_in_the_place_of_its_results() -> None:
    def work(number: int) -> list[int]:
        if number == 2:
            raise ZeroDivisionError
        return pairs(number)

    found: list[int] = []
    with Preparer(1) as preparer, pytest.raises(ZeroDivisionError):
        found.extend(preparer.ahead(work, range(9)))
    assert found == [0, 1, 2, 3]


def test_leaving_drops_what_has_not_begun_and_ends_the_thread() -> None:
    begun, release, done = threading.Event(), threading.Event(), list[int]()

    def work(number: int) -> list[int]:
        begun.set()
        release.wait(30)
        done.append(number)
        return [number]

    def leave_in_the_middle() -> None:
        with Preparer(1) as preparer:
            for number in range(4):
                preparer.submit(partial(work, number))
            begun.wait(30)
            threading.Timer(0.05, release.set).start()
            raise KeyError

    with pytest.raises(KeyError):
        leave_in_the_middle()
    assert done == [0]
    assert not any(thread.name.startswith("dentgen-preparer") for thread in threading.enumerate())


def test_its_thread_has_its_own_number_of_torch_threads() -> None:
    """Whatever the caller sets before and afterwards."""
    with torch_threads(2):
        with Preparer(1) as preparer:
            assert preparer.submit(torch.get_num_threads).result(30) == 1
            assert torch.get_num_threads() == 2
            torch.set_num_threads(2)
            assert preparer.submit(torch.get_num_threads).result(30) == 1
        assert torch.get_num_threads() == 2


def test_two_threads_take_as_long_as_the_slower_one() -> None:
    """Sleeping stands for work that needs no core of the taker."""

    def work(number: int) -> list[int]:
        time.sleep(0.05)
        return [number]

    began = time.perf_counter()
    with Preparer(1) as preparer:
        for _ in preparer.ahead(work, range(10)):
            time.sleep(0.05)
    assert time.perf_counter() - began < 0.9 * 10 * 0.1
