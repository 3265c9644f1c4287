"""The chart of the driver's cost: that of the figures beside it, a line for every number of actors."""

from __future__ import annotations

import json

from docs.generate.driver_chart import draw
from tests.conftest import ROOT

PICTURES = ROOT / "docs" / "pictures"


def test_the_chart_is_that_of_its_figures() -> None:
    figures = json.loads((PICTURES / "driver-cost.json").read_text())
    svg = draw(figures)
    assert (PICTURES / "driver-cost.svg").read_text() == svg
    assert draw(figures) == svg, "no date and no random name"
    assert all(f"{run['actors']} actor" in svg for run in figures["runs"])
