"""``dentgen evaluate regions``, ``upscaling``, ``relighting``: wrong arguments fail by name before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dentgen.cli.evaluate import app
from dentgen.errors import SpecError, StorageError


@pytest.mark.parametrize("command", ["regions", "upscaling", "relighting"])
def test_help_has_an_example(command: str) -> None:
    assert f"Example: dentgen evaluate {command}" in CliRunner().invoke(app, [command, "--help"]).output


@pytest.mark.parametrize("command", [["upscaling"], ["relighting", "conditions/"]])
def test_strengths_are_shares(command: list[str], tmp_path: Path) -> None:
    run = CliRunner().invoke(app, [*command, "--strengths", "0.4,2", "--json", str(tmp_path / "figures.json")])
    assert isinstance(run.exception, SpecError)
    assert (run.exception.key, run.exception.found) == ("--strengths", "0.4,2")


def test_other_tools_have_a_folder(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["upscaling", "--other", "tool:", "--work", str(tmp_path)])
    assert isinstance(run.exception, SpecError)
    assert (run.exception.key, run.exception.found) == ("--other", "tool:")
    assert not list(tmp_path.iterdir())


def test_a_spec_without_findings_asks_for_no_region(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("source: {path: jobs/demo/}\noutput: {path: out/}\n")
    run = CliRunner().invoke(app, ["regions", str(file)])
    assert isinstance(run.exception, SpecError)
    assert run.exception.key == "findings"


def test_records_that_are_not_there_are_named(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["relighting", str(tmp_path / "none")])
    assert isinstance(run.exception, StorageError)
    assert run.exception.file == str(tmp_path / "none")
