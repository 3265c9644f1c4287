"""``dentgen photos``: a draft of meanings, then records; refusals exit 1."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from dentgen.cli.app import app
from dentgen.cli.photos import PhotoFormat
from dentgen.errors import SpecError
from dentgen.ingest.photos.formats import PHOTO_FORMATS
from dentgen.ingest.photos.meaning import read_meanings
from tests.ingest.photos.annotated_sets import MEANINGS, write_supervisely


def test_the_command_knows_every_format() -> None:
    assert get_args(PhotoFormat) == PHOTO_FORMATS


def test_a_draft_is_written_once_and_used(tmp_path: Path) -> None:
    write_supervisely(tmp_path / "set")
    draft, runner = str(tmp_path / "meanings.yaml"), CliRunner()
    run = runner.invoke(app, ["photos", str(tmp_path / "set"), draft, "--inspect"])
    assert run.exit_code == 0, run.output
    assert read_meanings(draft).labels == MEANINGS
    again = runner.invoke(app, ["photos", str(tmp_path / "set"), draft, "--inspect"])
    assert isinstance(again.exception, SpecError)
    assert again.exception.file == draft
    printed = runner.invoke(app, ["photos", str(tmp_path / "set"), "--inspect"])
    assert printed.stdout == Path(draft).read_text()
    done = runner.invoke(app, ["photos", str(tmp_path / "set"), str(tmp_path / "out"), "--meanings", draft])
    assert done.exit_code == 0, done.output
    assert "10 records written, 0 refused" in done.stdout


def test_refusals_are_named_and_exit_1(tmp_path: Path) -> None:
    write_supervisely(tmp_path / "set")
    (tmp_path / "set" / "img" / "p3.png").unlink()
    (tmp_path / "m.yaml").write_text("labels: {gum: gingiva, caries: caries, '36': tooth 36, '37': tooth 37}\n")
    arguments = ["photos", str(tmp_path / "set"), str(tmp_path / "out"), "--meanings", str(tmp_path / "m.yaml")]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 1
    assert "ann/p3.png.json" in run.stderr
    assert "9 records written, 1 refused" in run.stdout


@pytest.mark.parametrize("arguments", [[], ["out"]])
def test_an_output_needs_meanings(arguments: list[str], tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["photos", str(tmp_path), *arguments])
    assert run.exit_code == 2
