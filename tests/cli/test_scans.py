"""``dentgen scans``: counts, and exit code 1 if a scan could not be used."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from dentgen.cli.app import app
from tests.ingest.scans.jaws import cast, write_obj


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
