"""Drivers with Ray, run from a copy of the package that logs every unit that it starts."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from dentgen.shards.ledger import committed_units
from tests.conftest import ROOT
from tests.faults.drivers import Ended, Rig
from tests.faults.kills import wait_for

#: Head and clients must agree on authentication; these clusters listen on this machine alone.
RAY: Final = {"RAY_AUTH_MODE": "disabled"}
#: Minimum time per unit, so that a fault can hit it.
UNIT_SECONDS: Final = 0.5
_FUTURE = "from __future__ import annotations\n"
_START = "    started, start = time.time(), time.monotonic()"
#: File, line before which the fault is inserted, fault; {once} is true only the first time, in any process.
Plant = tuple[str, str, str]


def package(rig: Rig, *plants: Plant) -> Path:
    """A copy of the package that counts attempts, with planted faults."""
    copy, happened, attempts = rig.folder / "copy", str(rig.folder / "happened"), str(rig.attempts_file)
    for name in ("dentgen", "jobs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    counts = (
        f"    with open({attempts!r}, 'a') as file:\n        file.write(unit.name + '\\n')\n"
        f"    time.sleep({UNIT_SECONDS})\n"
    )
    once = f"not os.path.exists({happened!r}) and not open({happened!r}, 'w').close()"
    for file, line, fault in (("generation/unit.py", _START, counts), *plants):
        path = copy / "dentgen" / file
        text = path.read_text()
        assert text.count(line) == 1, f"{file} no longer has {line!r}"
        text = text.replace(line, fault.replace("{once}", once) + line)
        path.write_text(text.replace(_FUTURE, _FUTURE + "import os, time\n"))
    return copy


class Driver:
    """`dentgen generate` with Ray, from the copy."""

    def __init__(self, rig: Rig, *words: str, **variables: str) -> None:
        """Start it."""
        self.rig, self.log = rig, rig.folder / "ray-log"
        copy = rig.folder / "copy"
        environment = {**os.environ, **RAY, "PYTHONPATH": str(copy), "RAY_DEDUP_LOGS": "0", **variables}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dentgen", "generate", str(rig.spec_file()), *words],
                cwd=copy, stdout=log, stderr=log, env=environment,
            )  # fmt: skip

    def family(self) -> list[psutil.Process]:
        """Its running descendants."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def until(self, what: Callable[[], object]) -> None:
        """Wait for progress or the end; if neither comes, kill it and show its output."""
        try:
            wait_for(lambda: what() or self.process.poll() is not None)
        except AssertionError as error:
            family = self.family()
            self.process.kill()
            end_all(family)
            raise AssertionError(f"{error}: {self.log.read_text(errors='replace')[-3000:]}") from error

    def until_committed(self, units: int) -> None:
        """Wait until a number of units are committed, or the end."""
        self.until(lambda: len(committed_units(self.rig.out)) >= units)

    def kill_one(self, wanted: Callable[[str], bool]) -> None:
        """SIGKILL one process by its title."""
        victims = find(wanted, self.family())
        assert victims, "no such process: the test proved nothing"
        self.kill(victims[0])

    def kill(self, victim: psutil.Process) -> None:
        """SIGKILL a process; units in flight count as interrupted."""
        committed = committed_units(self.rig.out)
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
        self.rig.interrupt(committed)

    def end(self) -> Ended:
        """Wait for its end and kill what is left of its descendants."""
        family = self.family()
        code = self.process.wait(timeout=240)
        end_all(family)
        return self.rig.note(Ended(code, self.log.read_text(errors="replace")))


def find(wanted: Callable[[str], bool], family: list[psutil.Process]) -> list[psutil.Process]:
    """Processes whose title is wanted."""
    return [process for process in family if wanted(title_of(process))]


def title_of(process: psutil.Process) -> str:
    """Title of a process, "" if it has ended."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def is_actor(title: str) -> bool:
    """Whether a title is that of an actor that generates units."""
    return title.startswith("ray::UnitMaker")


def end_all(family: list[psutil.Process]) -> None:
    """Kill what is left of a driver's processes."""
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=30)
