"""The build report: its numbers add up, and nothing on it can be loaded or injected."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dentgen.documents.ledger import UnitTiming
from dentgen.errors import StorageError
from dentgen.report.html.page import write_report
from dentgen.shards.index_reader import read_index
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import read_plan
from tests.report.fake_builds import START, VIEWS, fake_build, rejected, with_spec, written
from tests.report.html.browser import after, needs_browser
from tests.report.html.parsed_page import Page

HOSTILE = "<script>alert(1)</script>\"><img src=https://evil.example/x onerror=alert(2)>, teeth'"


def report_of(out: Path, plan: Plan) -> Page:
    url = write_report(str(out), plan)
    assert url == f"{out}/report.html"
    return Page(Path(url).read_text())


def totals(page: Page) -> list[str]:
    """Written, rejected and planned samples, shards and bytes in the head of the page."""
    return next(page.root.all("p", "totals")).texts("b")


def samples_in(rows: Sequence[list[str]]) -> int:
    """Sum over a table of counts."""
    return sum(int(row[-1].split()[0].replace(",", "")) for row in rows if row[-1][:1].isdigit())


def assert_loads_nothing(page: Page) -> None:
    assert all(url.startswith(("data:image/", "#")) for url in page.resources())
    tags = [element.tag for element in page.root.all()]
    assert not {"link", "iframe", "object", "embed", "base"}.intersection(tags)
    assert tags.count("script") == 1
    assert not any(name.startswith("on") for element in page.root.all() for name in element.attributes)


def test_report_of_a_real_build_loads_nothing(two_split_build: Path) -> None:
    out = two_split_build
    page = report_of(out, read_plan(str(out)))
    assert totals(page)[:4] == ["10", "0", "10", "5"]
    assert_loads_nothing(page)
    assert str(out.parent) not in (out / "report.html").read_text(), "no folder of this machine"
    images = [image for image in page.root.all("img") if "src" in image.attributes]
    assert len(images) == 5 * (2 + 2), "five records: two conditions, two variants"
    assert all(image.attributes["alt"] for image in images)
    assert samples_in(page.tables()["View"]) == 10
    assert [row[0] for row in page.tables()["Shards"][1:]] == [
        f"{shard.name} {shard.sha256}" for shard in read_index(str(out)).shards
    ]


def test_only_the_page_s_own_script_may_run(tmp_path: Path) -> None:
    page = report_of(tmp_path, fake_build(tmp_path, [written(0)]))
    (script,) = page.root.all("script")
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    policy = next(
        meta.attributes["content"]
        for meta in page.root.all("meta")
        if meta.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}';" in policy


@pytest.mark.integration
@needs_browser
def test_chips_filter_counts_and_pictures_in_a_browser(tmp_path: Path) -> None:
    samples = [written(n, attributes={"view": VIEWS[n % 3], "shade": ("light", "dark")[n % 2]}) for n in range(6)]
    url = write_report(str(tmp_path / "build"), fake_build(tmp_path / "build", samples))
    click = """
      const chip = (text) => [...document.querySelectorAll(".chip")].find((one) => one.textContent.startsWith(text));
      chip("left").click();
      chip("right").click();
      chip("dark").click();
      document.querySelector('[data-part="columns"]').value = "2";
      document.querySelector('[data-part="columns"]').dispatchEvent(new Event("change"));
    """
    page = after(Path(url).read_text(), click, tmp_path)
    explorer = next(element for element in page.root.all() if element.attributes.get("id") == "facets")
    chips = dict(text.rsplit(" ", 1) for text in explorer.texts("button") if text != "Clear")
    assert chips == {
        "frontal": "2",
        "left": "2",
        "right": "2",
        "dark": "4",
        "light": "4",
        "train": "4",
        "validation": "0",
    }
    assert next(explorer.all("b")).text == "4"
    hidden = [figure for figure in page.root.all("figure") if "hidden" in figure.attributes]
    assert len(hidden) == 4, "jaws 1 and 5 are right or left, and dark"
    assert explorer.texts("th") == ["train", "validation", "frontal", "left", "right"]
    assert [cell for cell in explorer.texts("td") if cell] == ["0", "0", "2", "0", "2", "0"]


@pytest.mark.integration
@needs_browser
@pytest.mark.parametrize("size", [[16, 48], [48, 16]])
def test_pictures_keep_their_shape_in_a_browser(size: list[int], tmp_path: Path) -> None:
    """Neither distorted nor cut, in the sheet and in the lightbox."""
    plan = fake_build(tmp_path / "build", [written(0)], conditions={"size": size})
    url = write_report(str(tmp_path / "build"), plan)
    measure = """
      document.querySelector("button.tile").click();
      for (const image of document.querySelectorAll("img")) {
        const style = getComputedStyle(image), box = image.getBoundingClientRect();
        const shown = style.objectFit === "contain" ? image.naturalWidth / image.naturalHeight : box.width / box.height;
        image.alt = `shape ${shown.toFixed(3)} ${style.objectFit}`;
      }
    """
    images = after(Path(url).read_text(), measure, tmp_path).root.all("img")
    found = [image.attributes["alt"] for image in images]
    assert len(found) == 5
    for text in found:
        assert text.split()[0] == "shape"
        assert float(text.split()[1]) == pytest.approx(size[1] / size[0], abs=0.02)
        assert text.split()[2] != "cover"


def test_numbers_add_up_to_the_index(tmp_path: Path) -> None:
    units = [
        [*written(0), *written(1), *rejected(2, "a.tar: x: found 1, expected 2")],
        [*written(3), *written(4, attributes={}, light_level=None), *written(5, prompt="")],
    ]
    page = report_of(tmp_path, fake_build(tmp_path, units))
    tables = page.tables()
    assert totals(page)[:4] == ["10", "2", "12", "2"]
    for caption in ("View", "Split", "Mean lighting level", "Most frequent prompts"):
        assert samples_in(tables[caption]) == 10, caption
    assert "Shade" not in tables, "empty in every sample"
    assert ["not named", "", "2 20 %"] in tables["View"]
    assert sum(int(row[1]) for row in tables["Shards"][1:]) == 10
    (status,) = page.root.all("p", "status")
    assert status.classes == {"status", "attention"}
    assert "16.7 %" in status.text


def test_dental_charts_have_a_cell_per_tooth(tmp_path: Path) -> None:
    units = [written(0), written(1, teeth=(55, 71))]
    tables = report_of(tmp_path, fake_build(tmp_path, units)).tables()
    upper, lower = ([cell for cell in row if cell] for row in tables["Teeth"])
    assert [cell[:2] for cell in upper] == [str(n) for n in (*range(18, 10, -1), *range(21, 29))]
    assert [cell[:2] for cell in lower] == [str(n) for n in (*range(48, 40, -1), *range(31, 39))]
    assert [cell for cell in upper + lower if cell[2:] != "0"] == ["1150", "2150", "3650"], "in half of the samples"
    milk = [cell for cell in tables["Deciduous teeth"][0] if cell]
    assert [cell[:2] for cell in milk] == ["55", "54", "53", "52", "51", "61", "62", "63", "64", "65"]


def test_source_text_stays_text(tmp_path: Path) -> None:
    hostile = written(0, prompt=HOSTILE, group=HOSTILE, split=HOSTILE, attributes={"view": HOSTILE, "gum": HOSTILE})
    units = [[*hostile, *rejected(1, f"{HOSTILE}: found {HOSTILE}, expected a map")]]
    timing = UnitTiming(started=START, seconds=1.0, worker=HOSTILE)
    page = report_of(tmp_path, fake_build(tmp_path, units, [timing]))
    assert_loads_nothing(page)
    assert page.shown.count(HOSTILE) >= 6, "shown as it is written, wherever it belongs"


def test_long_text_does_not_fill_the_page(tmp_path: Path) -> None:
    long = written(0, prompt="x" * 500_000, attributes={"view": "y" * 500_000})
    write_report(str(tmp_path), fake_build(tmp_path, [long]))
    assert (tmp_path / "report.html").stat().st_size < 100_000


def test_secrets_in_urls_are_not_shown(tmp_path: Path) -> None:
    plan = fake_build(tmp_path, [written(0)])
    page = report_of(tmp_path, with_spec(plan, source={"path": "s3://bucket/set?X-Amz-Signature=hunter2"}))
    assert "s3://bucket/set" in page.shown
    assert "hunter2" not in (tmp_path / "report.html").read_text()


def test_footer_does_not_call_composites_synthetic(tmp_path: Path) -> None:
    plan = fake_build(tmp_path, [written(0)])
    (synthetic,) = report_of(tmp_path, plan).root.texts("footer")
    (composite,) = report_of(tmp_path, with_spec(plan, sampling={"start_from": "photo"})).root.texts("footer")
    assert ("synthetic" in synthetic, "synthetic" in composite) == (True, False)


def test_rejects_are_grouped_with_examples(tmp_path: Path) -> None:
    damaged = [
        sample
        for n in range(5)
        for sample in rejected(n, f"a.tar: bad-{n}.seg.png: found class values [{n + 6}], expected only [0, 1]")
    ]
    other = rejected(9, "prompt 'a: b': found 99 tokens, expected at most 77")
    page = report_of(tmp_path, fake_build(tmp_path, [[*written(0), *damaged, *other]]))
    first, second = page.root.all("article", "reason")
    assert first.texts("h3") == ["found class values [N], expected only [0, 1]"]
    assert second.texts("h3") == ["found N tokens, expected at most 77"]
    assert [int(re.findall(r"\d+", group.texts("p")[0])[0]) for group in (first, second)] == [10, 2]
    assert first.texts("li") == [sample.reason for sample in damaged[:6:2]], "the first three distinct ones"


def test_build_without_written_samples(tmp_path: Path) -> None:
    reason = "a.tar: found bytes that are no tar, expected a whole, uncompressed tar"
    timing = UnitTiming(started=START, seconds=0.0, worker="vm:1")
    page = report_of(tmp_path, fake_build(tmp_path, [rejected(0, reason), rejected(1, reason)], [timing, timing]))
    assert totals(page) == ["0", "4", "4", "0", "0 Bytes"]
    assert [status.classes for status in page.root.all("p", "status")] == [{"status", "attention"}]
    for name in ("pictures", "counts", "provenance"):
        assert len(page.section(name).texts("p", "empty")) == 1, name
    assert len(page.section("rejected").texts("article")) == 1


def test_source_without_metadata(tmp_path: Path) -> None:
    bare: dict[str, Any] = {"group": "", "split": "", "prompt": "", "attributes": {}, "teeth": (), "light_level": None}
    page = report_of(tmp_path, fake_build(tmp_path, [written(0, **bare)]))
    for name in ("counts", "speed", "rejected"):
        assert len(page.section(name).texts("p", "empty")) == 1, name
    assert "split=" not in page.section("loading").text
    assert page.tables().keys() == {"Shards", "Inputs that determine the bytes", "Class balance"}


def test_equal_builds_give_equal_pages(tmp_path: Path) -> None:
    timing = UnitTiming(started=START, seconds=2.0, worker="vm:1")
    plan = fake_build(tmp_path, [written(0), written(1)], [timing, None])
    report_of(tmp_path, plan)
    first = (tmp_path / "report.html").read_bytes()
    page = report_of(tmp_path, plan)
    assert (tmp_path / "report.html").read_bytes() == first
    assert re.search(r"\b1 unit without times", page.section("speed").text)


def test_build_that_is_not_sealed_has_no_report(tmp_path: Path) -> None:
    plan = fake_build(tmp_path, [written(0)])
    (tmp_path / "index.json").unlink()
    with pytest.raises(StorageError) as caught:
        write_report(str(tmp_path), plan)
    assert "index.json" in str(caught.value)


def test_pauses_of_a_resumed_build_are_shown(tmp_path: Path) -> None:
    day = 86400
    timings = [
        UnitTiming(started=START, seconds=10.0, committed=START + 10.5, worker="vm:1"),
        UnitTiming(started=START + 3 * day, seconds=20.0, committed=START + 3 * day + 20, worker="vm:2"),
    ]
    page = report_of(tmp_path, fake_build(tmp_path, [written(0), written(1)], timings))
    assert page.section("speed").texts("dd") == ["0.13", "30 seconds", "3 days", "2"]
    assert "2 days and 23 hours" not in page.section("speed").texts("dd")
    runs = page.tables()["Runs"][1:]
    assert [row[1:3] for row in runs] == [["0:00:10", "2"], ["0:00:20", "2"]]
    assert ["3 days" in row[0] for row in runs] == [False, True], "the pause before the second run"
    assert [row[0] for row in page.tables()["Workers"][1:]] == ["vm:1", "vm:2"]
