"""The comparison of two builds as one self-contained HTML page, without scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dentgen.report.comparison.compare import Comparison, PicturePair
from dentgen.report.html.page import page_environment
from dentgen.report.html.pictures import sample_uri

_TEMPLATE: Final = "comparison.html.j2"
#: Bytes of a picture before it is reduced.
_PICTURE_BYTES: Final = 120_000


def comparison_page(comparison: Comparison) -> str:
    """The page; text from sources is untrusted and escaped, and the page loads nothing."""
    template = page_environment(Path(__file__).parent).get_template(_TEMPLATE)
    return template.render(
        comparison=comparison,
        sides=(comparison.first, comparison.second),
        pictures=[(pair, *_uris(pair)) for pair in comparison.pictures],
        max_length={"label": 200, "text": 2000},
    )


def _uris(pair: PicturePair) -> tuple[str, str]:
    return sample_uri(pair.first, _PICTURE_BYTES), sample_uri(pair.second, _PICTURE_BYTES)
