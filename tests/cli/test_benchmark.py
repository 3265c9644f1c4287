"""``dentgen benchmark``: help, arguments, and commands at the smallest size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

from dentgen.cli.benchmark import app
from dentgen.errors import SpecError
from tests.conftest import ROOT

COMMANDS = tuple(str(command.name or getattr(command.callback, "__name__", "")) for command in app.registered_commands)


def test_help_is_fast_and_has_an_example() -> None:
    """No model library is imported for it."""
    code = (
        "import sys; from typer.testing import CliRunner; from dentgen.cli.benchmark import app\n"
        f"for command in {COMMANDS!r}: print(CliRunner().invoke(app, [command, '--help']).output)\n"
        "print('torch' in sys.modules, 'ray' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    for command in COMMANDS:
        assert f"Example: dentgen benchmark {command}" in run.stdout
    assert run.stdout.split()[-2:] == ["False", "False"]


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("engine", "--slots", "16,x"), "--slots"),
        (("engine", "--variants", "0"), "--variants"),
        (("engine", "--regions", "1,x"), "--regions"),
        (("conditions", "--sizes", "small"), "--sizes"),
    ],
)
def test_wrong_values_name_their_option(arguments: tuple[str, ...], key: str) -> None:
    run = CliRunner().invoke(app, arguments)
    assert isinstance(run.exception, SpecError)
    assert run.exception.key == key


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_reported() -> None:
    run = CliRunner().invoke(app, ["engine", "--device", "cuda"])
    assert isinstance(run.exception, SpecError)
    assert run.exception.key == "--device"


def absent_modules() -> list[str]:
    """Top-level modules of all that is installed beside torch, what torch needs, and the wheels of ``make wheels``."""
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    (wheels,) = [line.split()[2:] for line in makefile.splitlines() if line.startswith("WHEELS ?= ")]
    there = {canonicalize_name(name) for name in ("dentgen", *wheels)}
    missing = ["torch"]
    while missing:
        name = canonicalize_name(missing.pop())
        there.add(name)
        needed = [Requirement(line) for line in requires(name) or ()]
        used = [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
        missing += [one for one in used if canonicalize_name(one) not in there]
    installed = packages_distributions().items()
    return [module for module, names in installed if not there & {canonicalize_name(name) for name in names}]


@pytest.mark.integration
def test_the_engine_needs_the_wheels_that_are_carried_and_no_network(tmp_path: Path) -> None:
    absent = absent_modules()
    assert {"ray", "webdataset", "s3fs", "pyarrow", "pandas"} < set(absent)
    small = ["--slots", "1", "--times", "1", "--variants", "1", "--rounds", "1", "--set", "sampling.steps=2",
             "--set", "conditions.size=64"]  # fmt: skip
    command = ["dentgen", "benchmark", "engine", *small, "--json", str(tmp_path / "figures.json")]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({absent!r})); sys.argv = {command!r}; "
        "from dentgen.cli.app import main; main()"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    figures = json.loads(run.stdout)
    assert "engine_over_networks" in figures["ratios"]
    assert figures == json.loads((tmp_path / "figures.json").read_text())
