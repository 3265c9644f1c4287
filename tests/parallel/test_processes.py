"""A parallel map keeps the order, starts no process for one item, and stops at the first exception."""

from __future__ import annotations

import multiprocessing
import os
import time
from functools import partial
from pathlib import Path

import pytest

from dentgen.parallel.processes import map_processes


def pid_and_square(number: int) -> tuple[int, int]:
    """The slower, the smaller the number, so that later items finish first."""
    time.sleep(0.2 if number == 0 else 0.0)
    return os.getpid(), number * number


def leave_trace(folder: str, number: int) -> int:
    """Fail for 0; write a file for all others."""
    if number == 0:
        raise KeyError(number)
    time.sleep(0.1)
    (Path(folder) / str(number)).touch()
    return number


def test_results_come_in_order_from_other_processes() -> None:
    results = list(map_processes(pid_and_square, range(6), workers=2))
    assert [square for _, square in results] == [0, 1, 4, 9, 16, 25]
    pids = {pid for pid, _ in results}
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2


@pytest.mark.parametrize(("count", "workers"), [(1, None), (1, 4), (4, 1)])
def test_one_item_or_one_worker_stays_in_this_process(count: int, workers: int | None) -> None:
    results = list(map_processes(pid_and_square, range(1, count + 1), workers))
    assert {pid for pid, _ in results} == {os.getpid()}


def test_no_items_give_no_results() -> None:
    assert list(map_processes(pid_and_square, [])) == []


def test_results_are_yielded_before_all_items_are_done() -> None:
    """A progress bar can follow; in this process items are computed on demand."""
    results = map_processes(pid_and_square, [3, 4], workers=1)
    assert next(results) == (os.getpid(), 9)


def test_the_first_exception_is_raised_and_cancels_what_has_not_started(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        list(map_processes(partial(leave_trace, str(tmp_path)), range(40), workers=2))
    for child in multiprocessing.active_children():
        child.join(10)
    assert len(list(tmp_path.iterdir())) < 20
