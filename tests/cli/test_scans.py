"""``dentgen scans``: counts, and exit code 1 if a scan could not be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dentgen.cli.app import app
from tests.ingest.scans.jaws import cast, write_obj, write_unlabelled


@pytest.mark.integration
def test_records_and_refusals_are_counted(tmp_path: Path) -> None:
    write_obj(tmp_path / "set" / "x.obj", cast("upper-occlusal"))
    arguments = ["scans", str(tmp_path / "set"), str(tmp_path / "out"), "--size", "24", "--views", "left"]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0, run.output
    assert "1 records of 1 scans, 0 scans refused" in run.stdout
    (tmp_path / "set" / "torn.stl").write_bytes(b"junk")
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 1
    assert "torn.stl: " in run.stderr


def test_options_for_scans_without_labels_and_colours_reach_the_set(tmp_path: Path) -> None:
    write_unlabelled(tmp_path / "set" / "x.obj", cast("upper-occlusal"))
    (tmp_path / "colours.yaml").write_text('"#ff0000": 11\n')
    arguments = ["scans", str(tmp_path / "set"), str(tmp_path / "out"), "--size", "16", "--views", "lower-occlusal"]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 1
    assert "--axes" in run.stderr
    options = ["--axes", "+x,+y,+z", "--unit", "mm", "--jaw", "upper", "--colours", str(tmp_path / "colours.yaml")]
    arguments[2] = str(tmp_path / "oriented")
    run = CliRunner().invoke(app, [*arguments, *options])
    assert run.exit_code == 0, run.output
    parameters = json.loads((tmp_path / "oriented" / "scans.json").read_text())
    assert parameters["orientation"] == {"axes": "+x,+y,+z", "unit": "mm", "jaw": "upper"}
    assert parameters["colours"] == {"#ff0000": 11}
