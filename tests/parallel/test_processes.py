"""A parallel map keeps the order, starts no process for one item, and stops at the first exception."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from dentgen.parallel.processes import map_processes

ROOT = Path(__file__).parents[2]


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


def test_the_first_exception_is_raised_and_ends_the_processes(tmp_path: Path) -> None:
    before = set(multiprocessing.active_children())
    with pytest.raises(KeyError):
        list(map_processes(partial(leave_trace, str(tmp_path)), range(40), workers=2))
    assert set(multiprocessing.active_children()) <= before
    assert len(list(tmp_path.iterdir())) < 20


def test_a_map_that_is_closed_ends_its_processes() -> None:
    results = map_processes(pid_and_sleep, range(4), workers=2)
    pid = next(results)
    results.close()
    assert not psutil.pid_exists(pid)


def pid_and_sleep(number: int) -> int:
    time.sleep(60.0 if number else 0.0)
    return os.getpid()


#: Ctrl-C reaches all processes of the terminal: some while they start, others in the middle of an item.
DRIVER = """
import faulthandler, sys, time
from dentgen.parallel.processes import map_processes

def announce_and_sleep(number):
    sys.stdout.write("working\\n")  # one write: two processes may print at once
    sys.stdout.flush()
    time.sleep(60)

if __name__ == "__main__":
    faulthandler.dump_traceback_later(20, exit=True)  # says where it hangs, if it does
    print("started", flush=True)
    try:
        list(map_processes(announce_and_sleep, range(4), workers=2))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize("moment", ["working", pytest.param("started", marks=pytest.mark.slow)])
def test_ctrl_c_ends_all_processes_without_a_word_of_theirs(moment: str, tmp_path: Path) -> None:
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    with subprocess.Popen(
        [sys.executable, str(driver)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert f"{moment}\n" in process.stdout  # reads up to that line
        if moment == "started":
            time.sleep(0.1)  # into the start of the workers
        children = psutil.Process(process.pid).children(recursive=True)
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert rest.splitlines()[-1] == "interrupted"
    assert errors == ""
    psutil.wait_procs(children, timeout=5)
    assert not [child for child in children if child.is_running()]
