"""The line chart of samples per second, as inline SVG whose colours and fonts come from the page's CSS.

Drawn in two shapes, wide and narrow, because text in an SVG shrinks with it; the page shows the one that fits. Refuses
to know how speed is measured.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import Any, Final

import pygal
from pygal.etree import etree
from pygal.style import Style

from dentgen.report.html.formatting import duration, number
from dentgen.report.html.speed import Speed

_SIZES: Final = {"wide": (1000, 300, 13), "narrow": (340, 240, 12)}
_TICKS: Final = {"wide": 8, "narrow": 4}
#: Steps between labels of a time axis, seconds: what a clock is divided into.
_TIME_STEPS: Final = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10800, 21600, 43200, 86400, 172800, 432000, 864000, 2592000),
)


def draw_speed(speed: Speed) -> dict[str, str]:
    """SVG elements by shape, ``wide`` and ``narrow``; the text is safe to stand in HTML as it is."""
    return {shape: _draw(speed, shape) for shape in _SIZES}


def _draw(speed: Speed, shape: str) -> str:
    width, height, font_size = _SIZES[shape]
    total, peak, gap = speed.working or 1.0, speed.peak or 1.0, _gap(speed)
    chart = pygal.XY(
        width=width,
        height=height,
        style=_style(font_size),
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
    for number_before, curve in enumerate(speed.curves):
        points = [(seconds + gap * number_before, rate) for seconds, rate in curve]
        chart.add("", points, fill=True)
        chart.add("", points)
    return _bare(chart.render_tree())


def _gap(speed: Speed) -> float:
    """Room in the chart where a pause was cut out, in seconds; many pauses together take no more than a tenth."""
    return (speed.working or 1.0) * min(0.015, 0.1 / len(speed.runs))


def _style(font_size: int) -> Any:
    return Style(font_family="inherit", label_font_size=font_size, major_label_font_size=font_size)


def _time_labels(speed: Speed, total: float, most: int) -> list[dict[str, Any]]:
    """Labels in working time, which does not go on where a pause was cut out."""
    step = next((step for step in _TIME_STEPS if total / step <= most), total / most)
    ends = list(accumulate(run.seconds for run in speed.runs[:-1]))
    times = [n * step for n in range(int(total / step) + 1)]
    return [{"value": time + _gap(speed) * bisect_left(ends, time), "label": duration(time)} for time in times]


def _rate_labels(peak: float) -> list[dict[str, Any]]:
    power = 10.0 ** int(f"{peak / 4:e}".partition("e")[2])
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * 5 >= peak)
    return [{"value": n * step, "label": number(n * step)} for n in range(int(peak / step + 1e-6) + 1)]


def _bare(svg: Any) -> str:
    """Only what is drawn: pygal's own style, script, title and dated comment would fight the page's."""
    for child in list(svg):
        if not (isinstance(child.tag, str) and child.tag.rpartition("}")[2] == "g"):
            svg.remove(child)
    svg.attrib.pop("id", None)
    svg.set("aria-hidden", "true")  # the figure around it says in words what it shows
    return str(etree.tostring(svg, encoding="unicode"))
