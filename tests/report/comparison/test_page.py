"""The page of a comparison: its numbers are those of the comparison, and nothing on it loads or runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dentgen.report.comparison.compare import compare_builds
from dentgen.report.comparison.page import comparison_page
from tests.report.fake_builds import HOSTILE, fake_build, written
from tests.report.html.parsed_page import Page


def page_of(folder: Path, **fields: Any) -> Page:
    fake_build(folder / "a", [written(0, **fields), written(1, **fields)], conditions={"size": [16, 24]})
    fake_build(folder / "b", [written(1, **fields)], sampling={"steps": 9})
    return Page(comparison_page(compare_builds(str(folder / "a"), str(folder / "b"))))


def test_totals_settings_and_pictures(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert next(page.root.all("p", "totals")).texts("b") == ["2", "0"]
    rows = {row[0]: row[1:] for row in (line.texts("th") + line.texts("td") for line in page.root.all("tr")) if row}
    assert rows["written"] == ["4", "2"]
    assert rows["picture, pixels"] == ["24 x 16", "16 x 16"]
    assert rows["frontal"][-2:] == ["50.0 %", "0.0 %"]
    assert "sampling.steps: 4 -> 9" in page.section("settings").text
    assert len(list(page.section("pictures").all("img"))) == 2


def test_nothing_is_loaded_or_run(tmp_path: Path) -> None:
    page = page_of(tmp_path, attributes={"view": HOSTILE[:200]}, prompt=HOSTILE)
    assert all(url.startswith(("data:image/", "#")) for url in page.resources())
    assert not list(page.root.all("script"))
    assert not any(name.startswith("on") for element in page.root.all() for name in element.attributes)
    policy = [meta.attributes.get("content", "") for meta in page.root.all("meta")]
    assert any(text.startswith("default-src 'none'") and "script-src" not in text for text in policy)
