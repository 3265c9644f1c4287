"""``dentgen evaluate``: help, arguments, and commands at the smallest size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from dentgen.cli.evaluate import app
from dentgen.errors import BuildError, SpecError
from tests.conftest import ROOT
from tests.curation.planted_builds import small_judges, smooth
from tests.report.fake_builds import fake_build, written

COMMANDS = ("fidelity", "tstr", "conditioning", "phantoms", "memorisation")


def test_help_is_fast_and_has_an_example() -> None:
    """No model library is imported for it."""
    code = (
        "import sys; from typer.testing import CliRunner; from dentgen.cli.evaluate import app\n"
        f"for command in {COMMANDS!r}: print(CliRunner().invoke(app, [command, '--help']).output)\n"
        "print('torch' in sys.modules, 'ray' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    for command in COMMANDS:
        assert f"Example: dentgen evaluate {command}" in run.stdout
    assert run.stdout.split()[-2:] == ["False", "False"]


def test_phantoms_prints_a_table_and_writes_figures(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["phantoms", "--records", "3", "--json", str(tmp_path / "new" / "phantoms.json")])
    assert run.exit_code == 0, run.output
    figures = json.loads((tmp_path / "new" / "phantoms.json").read_text())["figures"]
    name = "overbite of incisors, mm"
    assert f"| {name} | {figures[name]:.2f} " in run.stdout
    assert f"{figures['share_ring']:.4f}" in run.stdout


def test_a_bundle_of_an_unknown_way_is_rejected(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["conditioning", "--work", str(tmp_path), "--bundle", "B:miniature"])
    assert isinstance(run.exception, SpecError)
    assert (run.exception.key, run.exception.found) == ("--bundle", "B")


def test_a_wrong_key_is_rejected_before_anything_is_rendered(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["fidelity", "--work", str(tmp_path), "--set", "sampling.stpes=4"])
    assert isinstance(run.exception, SpecError)
    assert list(tmp_path.iterdir()) == []


def test_memorisation_names_copies_and_writes_pairs_and_sheet(tmp_path: Path) -> None:
    """A build beside itself as training pictures: all are copies."""
    fake_build(tmp_path / "out", [written(n) for n in range(3)], draw=smooth, conditions={"size": 32})
    fake_build(tmp_path / "other", [written(n) for n in range(3, 6)], draw=smooth, conditions={"size": 32})
    file, sheet = tmp_path / "new" / "m.json", tmp_path / "new" / "m.png"
    options = [
        "--judges",
        small_judges(tmp_path / "judges"),
        "--json",
        str(file),
        "--sheet",
        str(sheet),
        "--count",
        "4",
    ]
    places = [str(tmp_path / "out"), "--training", str(tmp_path / "out"), "--held-out", str(tmp_path / "other")]
    run = CliRunner().invoke(app, ["memorisation", *places, *options])
    assert run.exit_code == 0, run.output
    found = json.loads(file.read_text())
    assert (found["figures"]["share_near"], found["figures"]["copies"]) == (1, 4)
    assert [pair["generated"] == pair["training"] for pair in found["nearest"]] == [True] * 4
    assert [pair["bits"] for pair in found["copies"]] == [0] * 4
    assert f"copy: {found['copies'][0]['generated']} {found['copies'][0]['training']} 0 bits" in run.stdout
    assert Image.open(sheet).size == (2 * 36 + 4, 4 * 36 + 4)


@pytest.mark.slow
def test_tstr_prints_and_writes(tmp_path: Path) -> None:
    file = tmp_path / "tstr.json"
    options = ["tstr", "--work", str(tmp_path), "--json", str(file), "--judge-records", "10", "--records", "10",
               "--unet-steps", "4", "--set", "conditions.size=64", "--set", "sampling.steps=2"]  # fmt: skip
    run = CliRunner().invoke(app, options)
    assert run.exit_code == 0, run.output
    figures = json.loads(file.read_text())["figures"]
    printed = dict(line.split() for line in run.stdout.splitlines() if len(line.split()) == 2)
    assert printed["miou_synthetic"] == f"{figures['miou_synthetic']:.4f}"
    run = CliRunner().invoke(app, [*options, "--build", str(tmp_path)])
    assert isinstance(run.exception, BuildError)
    assert str(tmp_path) in run.exception.file
