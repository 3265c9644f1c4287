"""``dentgen certify``: written once, checked afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dentgen.cli.app import app
from tests.evaluation.certificate.finished import Members, finished_build


@pytest.mark.slow
def test_a_certificate_is_written_and_checked(tmp_path: Path, demo_members: Members) -> None:
    out = finished_build(tmp_path, demo_members)
    first = CliRunner().invoke(app, ["certify", str(out)])
    assert (first.exit_code, first.stdout.split()) == (0, [f"{out}/certificate.json", f"{out}/certificate.html"])
    assert CliRunner().invoke(app, ["certify", str(out), "--check"]).stdout == "0 differences\n"
    content = json.loads((out / "certificate.json").read_text())
    content["samples"] = 7
    (out / "certificate.json").write_text(json.dumps(content))
    again = CliRunner().invoke(app, ["certify", str(out), "--check"])
    assert (again.exit_code, again.stdout) == (1, "1 differences\n")
    assert "samples: the certificate says 7, found 6" in again.stderr
