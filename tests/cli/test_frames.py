"""``dentgen evaluate frames``: help without libraries, and what is refused before anything is built."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from dentgen.cli.evaluate import app
from dentgen.errors import ConditionError, SpecError
from tests.conftest import JAWS


def test_help_has_an_example() -> None:
    assert "Example: dentgen evaluate frames orbit/" in " ".join(
        CliRunner().invoke(app, ["frames", "--help"]).output.split()
    )


def test_a_source_without_series_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["frames", str(JAWS), "--work", str(tmp_path / "work")])
    assert isinstance(run.exception, ConditionError)
    assert run.exception.found == "no series"
    assert not (tmp_path / "work").exists()


def test_a_wrong_key_is_refused(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["frames", str(JAWS), "--set", "sampling.nose=series"])
    assert isinstance(run.exception, SpecError)
