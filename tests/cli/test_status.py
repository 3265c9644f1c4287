"""``dentgen status``: once, and with --watch beside a build in another process."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dentgen.errors import StorageError
from dentgen.pipeline.plan import make_plan
from dentgen.pipeline.run import build
from dentgen.shards.lease import hold_lease
from dentgen.shards.plan_file import write_plan
from tests.cli.running import Finished
from tests.conftest import ROOT, small_spec


@pytest.fixture
def begun(small_source: Path, tmp_path: Path) -> str:
    """A build of which nothing is done."""
    out = tmp_path / "out"
    assert write_plan(str(out), make_plan(small_spec(small_source, out, sampling={"steps": 1})))
    return str(out)


def test_status_counts_units_and_names_the_holder(begun: str, here: Callable[..., Finished]) -> None:
    lines = ["0 of 3 units done, 10 samples planned", "version 0 is being made"]
    assert here("status", begun).stdout.splitlines() == lines
    with hold_lease(begun, 60):
        assert here("status", begun).stdout.startswith(f"building: process {os.getpid()} on ")
    nothing = here("status", f"{begun}-not")
    assert nothing.returncode == 1
    assert "no plan" in nothing.stderr


def watching(out: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "dentgen", "status", out, "--watch", "--interval", "0.2", *options]


@pytest.mark.integration
def test_a_watcher_in_another_process_sees_a_build_to_its_end(small_source: Path, tmp_path: Path, begun: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(watching(begun), stdout=subprocess.PIPE, text=True, env=environment) as watcher:
        assert watcher.stdout is not None
        first = watcher.stdout.readline()
        assert first.startswith("0 of 10 samples, 0 of 3 units, 0%, state nobody is building")
        build(small_spec(small_source, Path(begun), sampling={"steps": 1}), use_ray=False)
        rest = watcher.stdout.read().splitlines()
    assert watcher.returncode == 0
    done = [int(line.split()[0]) for line in rest]
    assert done == sorted(done)
    assert rest[-1].startswith("10 of 10 samples, 3 of 3 units, 100%, state finished")
    assert any(f"building: process {os.getpid()} on " in line for line in rest)


@pytest.mark.integration
def test_a_watcher_on_a_terminal_draws_and_ends_cleanly_with_ctrl_c(begun: str) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(watching(begun), stdout=theirs, stderr=theirs, stdin=theirs, env=environment) as watcher:
        os.close(theirs)
        text, interrupted = b"", False
        while True:
            try:
                text += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not interrupted and b"0 of 10 samples" in text:
                watcher.send_signal(signal.SIGINT)
                interrupted = True
    os.close(ours)
    assert watcher.returncode == 130
    assert b"Traceback" not in text
    assert b"\x1b[?25h" in text, "the cursor is back"
    assert b"nobody is building" in text


def test_an_outage_is_said_and_waited_for(
    begun: str, here: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dentgen.shards.standing import BuildWatch

    look, looks = BuildWatch.look, iter([None, StorageError("planted outage"), None, KeyboardInterrupt()])

    def flaky(watch: BuildWatch) -> object:
        error = next(looks)
        if error is not None:
            raise error
        return look(watch)

    monkeypatch.setattr(BuildWatch, "look", flaky)
    run = here("status", begun, "--watch", "--interval", "0.1")
    assert run.returncode != 0
    lines = run.stdout.splitlines()
    assert [bool(re.match("0 of 10 samples", line)) for line in lines] == [True, False, True]
    assert "planted outage" in lines[1]


def test_the_first_look_must_succeed(here: Callable[..., Finished], tmp_path: Path) -> None:
    run = here("status", str(tmp_path / "nothing"), "--watch")
    assert run.returncode == 1
    assert "no plan" in run.stderr
