"""Inline SVG: nothing of the chart library's own styles and scripts is left."""

from __future__ import annotations

import pygal

from dentgen.report.html.svg_chart import SIZES, bare_svg, chart_style


def test_only_drawings_are_left() -> None:
    width, height, font_size = SIZES["narrow"]
    chart = pygal.Line(width=width, height=height, style=chart_style(font_size), disable_xml_declaration=True)
    chart.add("one", [1, 2])
    whole, bare = chart.render(is_unicode=True), bare_svg(chart.render_tree())
    assert "<style" in whole
    assert "<script" in whole
    assert not [word for word in ("<style", "<script", "<!--", "<defs") if word in bare]
    assert 'aria-hidden="true"' in bare
