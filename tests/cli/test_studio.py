"""``dentgen studio``: its options reach what they are for."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from dentgen.cli import studio_run
from dentgen.cli.app import app
from dentgen.errors import SpecError


def test_options_reach_the_studio(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = {}

    def run(spec: Any, place: str, save: Any, **options: Any) -> None:
        found.update(spec=spec, place=place, save=str(save), **options)

    monkeypatch.setattr(studio_run, "run_studio", run)
    words = ["studio", "--set", "sampling.steps=6", "--open", "x/", "--save", "y", "--port", "8000", "--no-browser"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert found.pop("spec").sampling.steps == 6
    assert found == {
        "place": "x/", "save": "y", "host": "127.0.0.1", "port": 8000, "browser": False, "token": True, "review": None,
    }  # fmt: skip


def test_without_a_token_nobody_else_may_reach_it() -> None:
    run = CliRunner().invoke(app, ["studio", "--no-token", "--host", "0.0.0.0"])
    assert isinstance(run.exception, SpecError)
    assert (run.exception.key, run.exception.found) == ("--no-token", "host 0.0.0.0")
