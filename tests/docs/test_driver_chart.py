"""The chart of the driver's cost: a line for every number of actors, and equal figures give an equal file."""

from __future__ import annotations

import json
from typing import Any

from docs.generate.driver_chart import draw
from tests.conftest import ROOT


def run(actors: int, units: int) -> dict[str, Any]:
    return {"actors": actors, "units": units, "points": [[units // 2, 1.0, 0.05], [units, 2.0, 0.1 * actors]]}


def test_the_longest_run_of_every_number_of_actors_is_drawn() -> None:
    figures = {"runs": [run(1, 100), run(1, 1000), run(4, 100)]}
    svg = draw(figures)
    assert draw(figures) == svg, "no date and no random name"
    assert draw({"runs": figures["runs"][1:]}) == svg, "the shorter one adds nothing"
    assert all(name in svg for name in ("1 actor<", "4 actors<"))
    assert draw({"runs": [run(1, 100)]}) != svg


def test_charts_in_the_documentation_are_those_of_their_figures() -> None:
    for file in (ROOT / "docs" / "pictures").glob("driver-*.json"):
        assert file.with_suffix(".svg").read_text() == draw(json.loads(file.read_text()))
