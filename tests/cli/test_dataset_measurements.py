"""Commands about datasets are commands of ``dentgen evaluate``; the gate's figures are printed and written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dentgen.cli.app import app
from dentgen.phantom.shards import PhantomSet, write_phantoms


@pytest.mark.parametrize("command", ["gate", "gate-usefulness", "memorisation"])
def test_the_commands_are_there(command: str) -> None:
    run = CliRunner().invoke(app, ["evaluate", command, "--help"])
    assert run.exit_code == 0
    assert "--judges" in run.stdout


@pytest.mark.slow
def test_the_gate_is_tried_on_pictures(tmp_path: Path) -> None:
    write_phantoms(str(tmp_path / "phantoms"), PhantomSet(6, 9004, 128, 6), 1)
    file = tmp_path / "new" / "gate.json"
    options = ["--planted", "2", "--reference", str(tmp_path / "phantoms"), "--json", str(file)]
    run = CliRunner().invoke(app, ["evaluate", "gate", str(tmp_path / "phantoms"), *options])
    assert run.exit_code == 0, run.output
    figures = json.loads(file.read_text())["figures"]
    assert figures["caught_black"] == 1
    assert "6 clean pictures, 12 planted faults" in run.stdout
