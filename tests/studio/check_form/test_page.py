"""The form of a check sheet in a real browser: keys judge, answers are read back, nothing tells what the gate said."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.curation.check_sheet import CheckSheet, draw_sheet
from dentgen.curation.check_verdicts import CheckVerdicts, read_verdicts, require_of_sheet
from dentgen.studio.check_form.page import form_page
from tests.curation.checked_build import checked_build
from tests.report.fake_builds import fake_build, written
from tests.report.html.browser import after, needs_browser
from tests.report.html.parsed_page import Page

#: Presses keys, and leaves what is saved in the page.
PRESS = """
Blob = class extends Blob {
  constructor(parts, options) { super(parts, options); document.body.dataset.saved = parts[0]; }
};
HTMLAnchorElement.prototype.click = () => {};
for (const key of KEYS) {
  if (key === "anew") document.getElementById("anew").click();
  else {
    const repeat = key.startsWith("held ");
    document.dispatchEvent(new KeyboardEvent("keydown", { key: key.replace("held ", ""), repeat }));
  }
}
"""


@pytest.fixture
def sheet(tmp_path: Path) -> CheckSheet:
    checked_build(tmp_path / "out", passed=6, failed=2)
    return draw_sheet(str(tmp_path / "out"), 6)


def pressed(tmp_path: Path, sheet: CheckSheet, *keys: str) -> Page:
    script = PRESS.replace("KEYS", json.dumps(keys))
    return after(form_page(str(tmp_path / "out"), sheet), script, tmp_path)


@pytest.mark.integration
@needs_browser
def test_keys_fill_in_the_sheet_and_the_saved_file_reads_back(tmp_path: Path, sheet: CheckSheet) -> None:
    keys = [entry.key for entry in sheet.entries]
    page = pressed(tmp_path, sheet, "a", "1", "ArrowRight", "4", "a", "u", "s")
    (tmp_path / "saved.json").write_text(next(page.root.all("body")).attributes["data-saved"])
    verdicts = read_verdicts(str(tmp_path / "saved.json"))
    require_of_sheet(verdicts, sheet, "saved.json")
    answers = {key: (verdict.accept, verdict.reason) for key, verdict in verdicts.verdicts.items()}
    assert answers == {keys[0]: (True, None), keys[1]: (False, "labels"), keys[3]: (False, "blurred")}


@pytest.mark.integration
@needs_browser
def test_a_key_that_is_held_judges_one_picture_and_another_person_begins_anew(
    tmp_path: Path, sheet: CheckSheet
) -> None:
    sheets = []
    for keys in (["a", "held a", "held a", "s"], ["a", "a", "anew", "1", "s"]):
        saved = next(pressed(tmp_path, sheet, *keys).root.all("body")).attributes["data-saved"]
        sheets.append(CheckVerdicts.model_validate_json(saved))
    assert [len(each.verdicts) for each in sheets] == [1, 1]
    assert [verdict.accept for verdict in sheets[1].verdicts.values()] == [False]
    assert sheets[0].sheet != sheets[1].sheet


def test_large_pictures_keep_their_resolution(tmp_path: Path) -> None:
    def noisy(key: str, _: tuple[int, int]) -> np.ndarray:
        return np.random.default_rng(len(key)).integers(0, 256, (384, 512, 3), np.uint8)

    fake_build(tmp_path, [written(0)], draw=noisy)
    html = form_page(str(tmp_path), draw_sheet(str(tmp_path), 1))
    media, content = re.findall(r'data-picture="data:(image/[a-z]+);base64,([^"]+)"', html)[0]
    assert media == "image/webp"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (512, 384)


@pytest.mark.integration
@needs_browser
def test_the_next_picture_is_shown(tmp_path: Path, sheet: CheckSheet) -> None:
    page = pressed(tmp_path, sheet, "a", "a")
    shown = {each.attributes["id"]: each.text for each in page.root.all() if "id" in each.attributes}
    assert (shown["key"], shown["position"]) == (sheet.entries[2].key, "3 of 6")


def test_the_page_does_not_tell_what_the_gate_said(tmp_path: Path, sheet: CheckSheet) -> None:
    others = tuple(replace(entry, gate="none") for entry in sheet.entries)
    unknown = replace(sheet, entries=others, written={"passed": 0, "failed": 0, "none": 8})
    html = form_page(str(tmp_path / "out"), sheet)
    assert html == form_page(str(tmp_path / "out"), unknown)
    assert not re.findall(r"(?:src|href)=.?https?:", html)


def test_every_picture_is_there_in_the_order_of_the_sheet(tmp_path: Path, sheet: CheckSheet) -> None:
    html = form_page(str(tmp_path / "out"), sheet)
    places = [html.index(f'data-key="{entry.key}"') for entry in sheet.entries]
    assert places == sorted(places)
    assert html.count('data-picture="data:image/') == 6
