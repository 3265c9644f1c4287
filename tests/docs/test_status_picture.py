"""The picture of a watched build is that of the real panel, and stands alone."""

from __future__ import annotations

from docs.generate.status_picture import PICTURE, drawn
from tests.cli.test_status_view import RUNNING


def test_the_panel_is_drawn_in_colours_and_fetches_nothing() -> None:
    svg = drawn(RUNNING)
    text = svg.replace("&#160;", " ")
    assert all(fact in text for fact in ("80 of 200 samples, 4 of 10 units, 40%", "3 actors alive", "0:01:00"))
    assert "@font-face" not in svg
    assert "url(http" not in svg.replace('"', "")
    assert drawn(RUNNING) == svg


def test_the_documentation_has_it() -> None:
    text = PICTURE.read_text().replace("&#160;", " ")
    assert "of 40 samples" in text
    assert "@font-face" not in text
