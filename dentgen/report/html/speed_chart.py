"""The line chart of samples per second."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate
from typing import Any, Final

import pygal

from dentgen.report.html.formatting import number
from dentgen.report.html.speed import Speed
from dentgen.report.html.svg_chart import SIZES, bare_svg, chart_style

_TICKS: Final = {"wide": 8, "narrow": 4}
#: Steps between labels of the time axis, seconds.
_TIME_STEPS: Final = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10800, 21600, 43200, 86400, 172800, 432000, 864000, 2592000),
)
#: Units of the time axis, each used from its size in seconds.
_TIME_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (0, "s"))


def draw_speed(speed: Speed) -> dict[str, str]:
    """Draw the chart.

    Returns:
        SVG elements by shape, ``wide`` and ``narrow``, which need no escaping in HTML.
    """
    return {shape: _draw(speed, shape) for shape in SIZES}


def _draw(speed: Speed, shape: str) -> str:
    width, height, font_size = SIZES[shape]
    total, peak, gap = speed.working or 1.0, speed.peak or 1.0, _gap(speed)
    chart = pygal.XY(
        width=width,
        height=height,
        style=chart_style(font_size),
        js=(),
        show_legend=False,
        show_dots=False,
        margin=6,
        xrange=(0, total + gap * (len(speed.runs) - 1)),
        range=(0, peak),
        x_labels=_time_labels(speed, total, _TICKS[shape]),
        y_labels=_rate_labels(peak),
        classes=(..., shape),
        disable_xml_declaration=True,
    )
    for pauses, curve in enumerate(speed.curves):
        points = [(seconds + gap * pauses, rate) for seconds, rate in curve]
        chart.add("", points, fill=True)
        chart.add("", points)
    return bare_svg(chart.render_tree())


def _gap(speed: Speed) -> float:
    """Width in seconds at which the chart draws a pause; all pauses together take at most a tenth of its width."""
    return (speed.working or 1.0) * min(0.015, 0.1 / len(speed.runs))


def _time_labels(speed: Speed, total: float, max_labels: int) -> list[dict[str, Any]]:
    """Labels in working time, placed with the gaps of the pauses before them."""
    step = next((step for step in _TIME_STEPS if total / step <= max_labels), total / max_labels)
    size, unit = next((size, unit) for size, unit in _TIME_UNITS if step >= size)
    ends = list(accumulate(run.seconds for run in speed.runs[:-1]))
    times = [n * step for n in range(int(total / step) + 1)]
    return [
        {"value": time + _gap(speed) * bisect_left(ends, time), "label": f"{time / (size or 1):g} {unit}"}
        for time in times
    ]


def _rate_labels(peak: float) -> list[dict[str, Any]]:
    exponent = math.floor(math.log10(peak / 4))
    step = next(10.0**exponent * factor for factor in (1, 2, 5, 10) if 10.0**exponent * factor * 5 >= peak)
    decimals = max(0, -math.floor(math.log10(step)))
    return [{"value": n * step, "label": number(n * step, decimals)} for n in range(int(peak / step + 1e-6) + 1)]
