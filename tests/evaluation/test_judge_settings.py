"""Sizes of the judges: light to import, compared by value."""

from __future__ import annotations

import subprocess
import sys

from dentgen.evaluation.judge_settings import DEFAULT_JUDGES, JudgeSettings
from tests.conftest import ROOT


def test_settings_are_compared_by_value() -> None:
    assert JudgeSettings() == DEFAULT_JUDGES
    assert JudgeSettings(records=10) != DEFAULT_JUDGES


def test_the_command_line_need_not_wait_for_torch() -> None:
    code = "import sys, dentgen.evaluation.judge_settings; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.split() == ["False"]
