"""Charts as inline SVG that the page's CSS styles, in two shapes, because the text of an SVG scales with its width."""

from __future__ import annotations

from typing import Any, Final

from pygal.etree import etree
from pygal.style import Style

#: Width, height and font size of the two shapes; the page shows the one that fits.
SIZES: Final = {"wide": (1000, 300, 13), "narrow": (340, 240, 12)}


def chart_style(font_size: int) -> Any:
    """The page's own font."""
    return Style(font_family="inherit", label_font_size=font_size, major_label_font_size=font_size)


def bare_svg(svg: Any) -> str:
    """The SVG without pygal's own style, script, title and dated comment, which conflict with the page's."""
    for child in list(svg):
        if not (isinstance(child.tag, str) and child.tag.rpartition("}")[2] == "g"):
            svg.remove(child)
    svg.attrib.pop("id", None)
    svg.set("aria-hidden", "true")  # the surrounding figure has a text alternative
    return str(etree.tostring(svg, encoding="unicode"))
