"""``jobs/compare.py`` is the command of its name."""

from __future__ import annotations

import pytest

from tests.jobs.cluster import require_same_as_command


def test_it_is_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    require_same_as_command("compare", monkeypatch, capsys)
