"""Disturbed drivers: the command line in a process of its own, with its attempts counted and its output kept.

A driver without Ray is a fork of this process in which a fault is installed before the command starts: the libraries
are loaded already, so that a whole build takes a second or two.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from unittest.mock import create_autospec

import pytest
import yaml

from dentgen import storage
from dentgen.cli.app import main
from dentgen.documents.units import Unit
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import load_planned_generator
from dentgen.pipeline import make_units
from dentgen.shards import layout
from dentgen.shards.ledger import UnitResult, committed_units, read_ledger
from dentgen.spec.build import BuildSpec

#: Installs a fault in the process that calls it.
Fault = Callable[[], None]


def nothing() -> None:
    """No fault."""


@dataclass(frozen=True)
class Ended:
    """How a driver ended: its exit code, or minus the signal that killed it; and its output."""

    code: int
    text: str

    @property
    def error(self) -> str:
        """Its error line, "" if there is not exactly one."""
        lines = [line for line in self.text.splitlines() if line.startswith("error: ")]
        return lines[0] if len(lines) == 1 else ""


@dataclass
class Rig:
    """One disturbed build.

    Attributes:
        spec: Spec of the build.
        folder: Working folder of the test.
        whole: The undisturbed build.
        replayed: Take units from the undisturbed build instead of generating them.
        runs: How every driver ended.
        interrupted: How often each unit had been started and was not committed when a process ended.
    """

    spec: BuildSpec
    folder: Path
    whole: Path
    replayed: bool = False
    runs: list[Ended] = field(default_factory=list)
    interrupted: Counter[str] = field(default_factory=Counter)
    _known: Counter[str] = field(default_factory=Counter)

    @property
    def out(self) -> str:
        """The build."""
        return self.spec.output.path

    @property
    def attempts_file(self) -> Path:
        """A line for every unit that was started."""
        return self.folder / "attempts"

    def attempts(self) -> Counter[str]:
        """How often each unit was started."""
        return Counter(self.attempts_file.read_text().split()) if self.attempts_file.exists() else Counter()

    def spec_file(self, **sections: dict[str, object]) -> Path:
        """Write the spec, with changes."""
        values = self.spec.model_dump(mode="json")
        path = self.folder / "spec.yaml"
        changed = {name: {**values[name], **section} for name, section in sections.items()}
        path.write_text(yaml.safe_dump({**values, **changed}))
        return path

    def generate(self, fault: Fault = nothing, **sections: dict[str, object]) -> Ended:
        """Start or resume the build and wait for its end."""
        return self.command("generate", str(self.spec_file(**sections)), "--no-ray", fault=fault)

    def command(self, *words: str, fault: Fault = nothing) -> Ended:
        """Run any command to its end."""
        return self.wait(self.start(*words, fault=fault))

    def start(self, *words: str, fault: Fault = nothing, name: str = "log") -> tuple[int, Path]:
        """Start a command."""
        log = self.folder / name
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            _be_driver(self, words, log, fault)
        return pid, log

    def wait(self, started: tuple[int, Path]) -> Ended:
        """Wait for a command; units that it started and did not commit count as interrupted."""
        pid, log = started
        _, status = os.waitpid(pid, 0)
        return self.note(Ended(os.waitstatus_to_exitcode(status), log.read_text(errors="replace")))

    def note(self, ended: Ended) -> Ended:
        """Record how a driver ended."""
        self.runs.append(ended)
        self.interrupt(committed_units(self.out))
        return ended

    def interrupt(self, committed: set[str]) -> None:
        """Count units that were started since the last call and are not committed."""
        started = self.attempts()
        self.interrupted += Counter(name for name in started - self._known if name not in committed)
        self._known = started


def _be_driver(rig: Rig, words: tuple[str, ...], log: Path, fault: Fault) -> NoReturn:
    """Run the command in the child, which never returns to the test."""
    code = 70
    try:
        handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1, closefd=False) for n in (1, 2))
        logging.getLogger().handlers.clear()
        sys.argv = ["dentgen", *words]
        count_attempts(rig)
        fault()
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - as Python itself would
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def count_attempts(rig: Rig) -> None:
    """In a driver: write a line for every unit that is started; replay units if asked."""
    make: Callable[..., UnitResult] = replay(rig.whole) if rig.replayed else vars(make_units)["generate_unit"]
    if rig.replayed:
        changes: dict[str, Any] = {
            "load_planned_generator": create_autospec(load_planned_generator, return_value=None),
            "start_engine": create_autospec(start_engine, return_value=SimpleNamespace(run=None)),
        }
        for name, change in changes.items():
            pytest.MonkeyPatch().setattr(make_units, name, change)

    def counted(plan: Any, generator: Any, unit: Unit, *rest: Any) -> UnitResult:
        with rig.attempts_file.open("a") as file:
            file.write(f"{unit.name}\n")
        return make(plan, generator, unit, *rest)

    vars(make_units)["generate_unit"] = counted


def replay(whole: Path) -> Callable[..., UnitResult]:
    """A ``generate_unit`` that takes units from a finished build, for faults that do not depend on images."""

    def taken(plan: object, generator: object, unit: Unit, *rest: object) -> UnitResult:
        record = read_ledger(str(whole), unit.name)
        shard = storage.read_bytes(storage.join(str(whole), layout.SHARDS, record.shard)) if record.shard else b""
        return UnitResult(shard, record)

    return taken
