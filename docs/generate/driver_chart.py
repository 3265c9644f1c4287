"""Draws the chart of what a build's driver costs: ``python -m docs.generate.driver_chart FIGURES.json CHART.svg``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pygal
from pygal.etree import etree
from pygal.style import Style


def draw(figures: dict[str, Any]) -> str:
    """The driver's processor time over units, a line for every number of actors, as an SVG document.

    Args:
        figures: What ``dentgen benchmark driver --json`` wrote; of runs with equal actors, the longest is drawn.
    """
    longest: dict[int, dict[str, Any]] = {}
    for run in figures["runs"]:
        longest[run["actors"]] = max(run, longest.get(run["actors"], run), key=lambda one: int(one["units"]))
    chart = pygal.XY(
        width=720, height=360, js=(), show_dots=True, dots_size=2, margin=8, no_prefix=True, pretty_print=False,
        style=Style(background="white", plot_background="white", font_family="sans-serif", label_font_size=12),
        x_title="units", y_title="driver's processor time, s", legend_at_bottom=True,
    )  # fmt: skip
    for actors, run in sorted(longest.items()):
        chart.add(f"{actors} actor{'s' * (actors > 1)}", [(units, cpu) for units, _, cpu in run["points"]])
    svg = chart.render_tree()
    for child in list(svg):
        if not isinstance(child.tag, str):  # comments, with the date
            svg.remove(child)
    svg.attrib.pop("id", None)
    return str(etree.tostring(svg, encoding="unicode")) + "\n"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(json.loads(Path(sys.argv[1]).read_text())), encoding="utf-8")
