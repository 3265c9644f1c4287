"""Figures as text and JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path

from dentgen.evaluation.figures import figure_lines, write_figures


def test_json_rounds_and_has_null_for_what_is_not_finite(tmp_path: Path) -> None:
    file = tmp_path / "new" / "figures.json"
    write_figures({"a": 1 / 3, "b": math.nan, "c": math.inf}, file)
    assert json.loads(file.read_text()) == {"figures": {"a": 0.3333, "b": None, "c": None}}


def test_json_has_what_else_is_given(tmp_path: Path) -> None:
    write_figures({"a": 0.5}, tmp_path / "figures.json", {"pairs": [["x", 1]]})
    assert json.loads((tmp_path / "figures.json").read_text()) == {"figures": {"a": 0.5}, "pairs": [["x", 1]]}


def test_lines_are_aligned() -> None:
    lines = figure_lines({"short": 2 / 3, "much_longer_name": -12.5})
    assert [line.split() for line in lines] == [["short", "0.6667"], ["much_longer_name", "-12.5000"]]
    assert len({len(line) for line in lines}) == 1
