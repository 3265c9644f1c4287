"""``dentgen export``: exit codes and what it says of losses."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from dentgen.cli.app import app
from dentgen.cli.export import FormatName
from dentgen.errors import SpecError
from dentgen.export.run import FORMATS
from tests.export.hard_sets import write_hard_set


def test_the_command_knows_every_layout() -> None:
    assert get_args(FormatName) == FORMATS


def test_losses_are_said_and_damage_exits_1(tmp_path: Path) -> None:
    write_hard_set(tmp_path / "set", broken=True)
    arguments = ["export", str(tmp_path / "set"), "yolo-segment", str(tmp_path / "out"), "--workers", "1"]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 1
    assert "5 samples written, 1 rejected; test 1; train 3; validation 1" in run.stdout
    assert "torn: " in run.stderr
    for word in ("IoU", "holes", "several parts", "without annotation", "without a number"):
        assert word in run.stdout, word


def test_a_faultless_export_exits_0(tmp_path: Path) -> None:
    write_hard_set(tmp_path / "set")
    run = CliRunner().invoke(app, ["export", str(tmp_path / "set"), "coco", str(tmp_path / "out"), "--workers", "1"])
    assert run.exit_code == 0, run.output
    assert "lost" not in run.stdout


@pytest.mark.parametrize(("given", "missing"), [("--sign", "--key"), ("--key", "--sign")])
def test_a_certificate_and_its_key_go_together(given: str, missing: str, tmp_path: Path) -> None:
    arguments = ["export", str(tmp_path), "coco", str(tmp_path / "out"), given, str(tmp_path / "file.pem")]
    run = CliRunner().invoke(app, arguments)
    assert isinstance(run.exception, SpecError)
    assert (run.exception.key, run.exception.found) == (given, f"no {missing}")


def test_both_files_reach_the_export(tmp_path: Path) -> None:
    write_hard_set(tmp_path / "set")
    files = ["--sign", str(tmp_path / "a.pem"), "--key", str(tmp_path / "b.pem")]
    run = CliRunner().invoke(app, ["export", str(tmp_path / "set"), "coco", str(tmp_path / "out"), *files])
    assert isinstance(run.exception, SpecError)
    assert (run.exception.key, run.exception.found) == ("--sign", "condition records")
