"""``dentgen review``: a sheet is written, filled in and counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dentgen.cli.app import app
from dentgen.curation.check_sheet import draw_sheet
from dentgen.errors import SpecError
from tests.curation.checked_build import checked_build, filled_in


def test_a_sheet_is_written_filled_in_and_counted(tmp_path: Path) -> None:
    out, page, file, figures = (str(tmp_path / name) for name in ("out", "sheet.html", "filled.json", "figures.json"))
    checked_build(Path(out), passed=6, failed=2)
    run = CliRunner().invoke(app, ["review", "sheet", out, page, "--count", "4", "--seed", "7"])
    assert run.exit_code == 0, run.output
    assert f"4 pictures: {page}" in run.stdout
    verdicts = filled_in(draw_sheet(out, 4, 7), passed=True, failed=True)
    assert all(key in Path(page).read_text() for key in verdicts.verdicts)
    Path(file).write_text(verdicts.model_dump_json())
    run = CliRunner().invoke(app, ["review", "verdicts", out, file, "--json", figures])
    assert run.exit_code == 0, run.output
    found = json.loads(Path(figures).read_text())
    assert (found["verdicts"], found["passed_accepted"], found["failed_rejected"], found["agree"]) == (4, 1, 0, 0.75)


def test_the_page_lies_outside_of_the_build(tmp_path: Path) -> None:
    checked_build(tmp_path, passed=2, failed=0)
    run = CliRunner().invoke(app, ["review", "sheet", str(tmp_path), str(tmp_path / "sheet.html")])
    with pytest.raises(SpecError):
        raise run.exception or AssertionError(run.output)
