"""The command line in the process of the tests."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from dentgen.cli.app import main
from tests.cli.running import Finished


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """The command line in this process: the same code without the seconds that a new process takes to import."""

    def run(*arguments: str) -> Finished:
        monkeypatch.setattr(sys, "argv", ["dentgen", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Finished(int(ended.value.code or 0), printed.out, printed.err)

    return run
