"""Submit jobs to a cluster as users do, or run them in this process."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dentgen.cli.app import main
from tests.conftest import ROOT

BIN = Path(sys.executable).parent
#: Head and clients must agree on whether there are tokens; this cluster listens on loopback alone.
RAY = {"RAY_AUTH_MODE": "disabled"}


@dataclass(frozen=True)
class Cluster:
    """URL of the job server, address for drivers."""

    jobs: str
    address: str


def submit(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``ray job ARGUMENTS``, to its end."""
    command = [str(BIN / "ray"), "job", arguments[0], "--address", cluster.jobs, *arguments[1:]]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **RAY}, check=False, timeout=400
    )


def require_same_as_command(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The job and the command of its name are the same code: they print the same help."""
    job = str(ROOT / "jobs" / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [job, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(job, run_name="__main__")
    assert ended.value.code == 0
    of_job = capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["dentgen", name, "--help"])
    with pytest.raises(SystemExit):
        main()
    of_command = capsys.readouterr().out
    assert of_job.replace(f"{name}.py {name}", f"dentgen {name}").split() == of_command.split()
    assert f"dentgen {name}" in of_command
