"""The chart of samples per second: plain SVG in two shapes, with labels that can be read."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from dentgen.report.html.speed import UnitSpan, measure_speed
from dentgen.report.html.speed_chart import draw_speed
from tests.report.fake_builds import START

SVG = "{http://www.w3.org/2000/svg}"


def labels(svg: str, axis: str) -> list[str]:
    """Texts along the axis ``x`` or ``y``."""
    root = ElementTree.fromstring(svg)
    found = [group for group in root.iter(f"{SVG}g") if group.get("class", "").split()[:2] == ["axis", axis]]
    return ["".join(text.itertext()) for group in found for text in group.iter(f"{SVG}text")]


def test_chart_is_bare_svg_in_two_shapes() -> None:
    charts = draw_speed(measure_speed([UnitSpan("w", START, START + 10, 5)]))
    assert charts.keys() == {"wide", "narrow"}
    for svg in charts.values():
        assert re.match(r'<svg [^>]*viewBox="0 0 \d+ \d+"', svg)
        assert not re.search(r"<script|<style|<!--|href", svg)


@pytest.mark.parametrize(
    ("seconds", "samples", "times", "rates"),
    [
        (0.8, 100, ["0 s", "0.1 s", "0.2 s", "0.3 s"], ["0", "50", "100"]),
        (90, 18, ["0 s", "15 s", "30 s", "45 s"], ["0.00", "0.05", "0.10", "0.15", "0.20"]),
        (4 * 3600, 14400 * 4000, ["0 min", "30 min", "60 min", "90 min"], ["0", "1,000", "2,000"]),
        (6 * 86400, 6 * 86400, ["0 d", "1 d", "2 d", "3 d"], ["0.0", "0.2", "0.4"]),
    ],
)
def test_labels_are_round_numbers(seconds: float, samples: int, times: list[str], rates: list[str]) -> None:
    svg = draw_speed(measure_speed([UnitSpan("w", START, START + seconds, samples)]))["wide"]
    assert labels(svg, "x")[: len(times)] == times
    assert labels(svg, "y")[: len(rates)] == rates


def test_every_run_is_a_line_of_its_own() -> None:
    spans = [UnitSpan("w", START + pause, START + pause + 10, 5) for pause in (0, 5000, 20000)]
    svg = draw_speed(measure_speed(spans))["wide"]
    assert svg.count("nofill") == 3
