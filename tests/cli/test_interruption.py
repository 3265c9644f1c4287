"""Signals: one line, the exit code that shells expect, nobody left behind; real processes and real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from dentgen.cli.interruption import Interruption

ROOT = Path(__file__).parents[2]

#: The last line of every interrupted command.
LAST = "interrupted; "


@pytest.fixture
def handlers() -> Iterator[None]:
    """Those of the test process are put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_interrupts_and_later_ones_change_nothing(
    number: signal.Signals, code: int, handlers: None
) -> None:
    interruption = Interruption(seconds=3600)
    with interruption.handling():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert interruption.exit_code == code


def test_without_a_signal_the_handlers_are_put_back(handlers: None) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interruption().handling():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_process_that_does_not_end_is_ended_with_its_children() -> None:
    code = """
import subprocess, sys, time
from dentgen.cli.interruption import Interruption
def stubborn():
    try:
        print(child.pid, flush=True)
        time.sleep(60)
    finally:
        time.sleep(60)
child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
with Interruption(seconds=0.5).handling():
    stubborn()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 143
    assert errors.startswith(LAST)
    assert len(errors.splitlines()) == 1
    assert not psutil.pid_exists(child)


def interrupted(
    arguments: list[str], sign: str, number: signal.Signals, times: int = 1, pause: float = 0.3
) -> tuple[int, list[str], float]:
    """Exit code, what was printed after the signal, and seconds until the end, of a command in its own terminal.

    The whole process group gets the signal, ``times`` times, ``pause`` seconds after ``sign`` was printed.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "dentgen", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        cwd=ROOT, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        text = ""
        while sign not in text:
            letter = process.stderr.read(1)  # a progress bar ends no line
            assert letter, text
            text += letter
        time.sleep(pause)
        began = time.monotonic()
        for _ in range(times):
            os.killpg(process.pid, number)
            time.sleep(0.1)
        rest = process.stderr.read()
    seconds = time.monotonic() - began
    _, left = psutil.wait_procs(list(_session_of(process.pid)), timeout=5)
    assert not left, "processes left behind"
    return process.returncode, rest.splitlines(), seconds


def _session_of(leader: int) -> Iterator[psutil.Process]:
    """The living processes of a session; zombies wait for a parent that this machine may not have."""
    for process in psutil.process_iter():
        with suppress(OSError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                yield process


@pytest.mark.slow
@pytest.mark.parametrize(("number", "times", "code"), [(signal.SIGINT, 3, 130), (signal.SIGTERM, 1, 143)])
def test_phantoms_end_and_keep_finished_shards(number: signal.Signals, times: int, code: int, tmp_path: Path) -> None:
    arguments = ["phantom", str(tmp_path / "p"), "--count", "60", "--size", "16", "--shard-size", "1"]
    ended, rest, seconds = interrupted(arguments, " 1/60 ", number, times)
    assert ended == code
    assert seconds < 10
    assert rest[-1].startswith(LAST)
    assert not [line for line in rest if "Traceback" in line or "Error" in line]
    assert 1 <= len(list((tmp_path / "p").glob("phantoms-*.tar"))) < 60
