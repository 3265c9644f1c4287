"""``dentgen benchmark``: help, arguments, and commands at the smallest size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from dentgen.cli.benchmark import app
from dentgen.errors import SpecError
from tests.conftest import ROOT

COMMANDS = tuple(str(command.name or command.callback.__name__) for command in app.registered_commands)
#: What a machine that only measures the engine need not have.
ABSENT = ("ray", "webdataset", "s3fs", "pyarrow", "scipy", "pandas", "boto3", "pygal", "torchvision")


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


@pytest.mark.slow
def test_the_engine_needs_neither_ray_nor_a_network(tmp_path: Path) -> None:
    small = ["--slots", "1", "--times", "1", "--variants", "1", "--rounds", "1", "--set", "sampling.steps=2",
             "--set", "conditions.size=64"]  # fmt: skip
    command = ["dentgen", "benchmark", "engine", *small, "--json", str(tmp_path / "figures.json")]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r})); sys.argv = {command!r}; "
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
