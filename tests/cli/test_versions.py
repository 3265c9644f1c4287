"""``dentgen versions``: a line for every version."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from dentgen.cli.app import app
from dentgen.errors import BuildError
from tests.report.fake_builds import fake_build, rejected, written


def test_a_version_is_a_line(tmp_path: Path) -> None:
    fake_build(tmp_path, [written(0), rejected(1, "torn")])
    file = tmp_path / "versions" / "0" / "seal.json"
    seal = json.loads(file.read_bytes())
    for changes, shown in (({"sealed": 1.8e9, "tick": "day 1"}, ["2027-01-15", "08:00:00", "day", "1"]),
                           ({"sealed": 0.0, "tick": ""}, ["unknown", "-"])):  # fmt: skip
        file.write_text(json.dumps(seal | changes))
        run = CliRunner().invoke(app, ["versions", str(tmp_path)])
        assert run.exit_code == 0, run.output
        head, line = run.stdout.splitlines()
        assert head.split() == ["version", "segment", "samples", "rejected", "shards", "bytes", "sealed", "tick"]
        assert line.split() == ["0", "0", "2", "2", "1", str(seal["bytes"]), *shown]


def test_a_folder_without_a_version_is_an_error(tmp_path: Path) -> None:
    assert isinstance(CliRunner().invoke(app, ["versions", str(tmp_path)]).exception, BuildError)
