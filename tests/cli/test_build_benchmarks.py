"""Benchmarks of builds: arguments that are wrong are named before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dentgen.cli.benchmark import app
from dentgen.errors import SpecError


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("overhead", "--units", "20"), "--units"),
        (("driver", "--units", "20"), "--units"),
        (("driver", "--actors", "x"), "--actors"),
        (("build", "--set", "pipeline.actors=2"), "pipeline.actors"),
    ],
)
def test_wrong_values_name_their_option(tmp_path: Path, arguments: tuple[str, ...], key: str) -> None:
    run = CliRunner().invoke(app, [*arguments, "--work", str(tmp_path)])
    assert isinstance(run.exception, SpecError)
    assert run.exception.key == key
