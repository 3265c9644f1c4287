"""The studio in a real browser: painting changes pictures where it was painted; what is saved is what a build makes."""

from __future__ import annotations

import io
import re
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dentgen.generation.generator import Generator
from dentgen.generation.live import LiveCanvas
from dentgen.pipeline.run import build
from dentgen.pipeline.verify import verify
from dentgen.spec.yaml_file import read_spec
from tests.studio.serving import Studio, chromium, drag, frames, pixels, served, shown_version, until


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as one:
        yield one


@pytest.fixture
def studio(generator: Generator, tmp_path: Path) -> Iterator[Studio]:
    with served(generator, tmp_path / "saved") as one:
        yield one


def visit(browser: Any, studio: Studio, **options: Any) -> Any:
    page = browser.new_context(viewport={"width": 1440, "height": 900}, **options).new_page()
    page.goto(studio.address)
    until(lambda: frames(page) > 0)
    return page


def settled(page: Any, studio: Studio) -> None:
    """Wait for a picture of the document as it is."""
    until(lambda: shown_version(page) == studio.session.work.version, 90)


def test_a_page_shows_the_record_and_a_picture(browser: Any, studio: Studio) -> None:
    """Short, as a smoke test of everything together; also: nothing is asked of any other address."""
    asked: list[str] = []
    context = browser.new_context()
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(studio.address)
    until(lambda: frames(page) > 0)
    assert page.locator("#key").inner_text() == studio.session.work.base.key
    assert pixels(page).std() > 10
    assert page.locator("#classes .swatch").count() == 10
    own = (studio.origin, studio.origin.replace("http", "ws"), "blob:")
    assert asked
    assert [url for url in asked if not url.startswith(own)] == []


@pytest.mark.slow
def test_painting_a_restoration_changes_its_tooth(browser: Any, studio: Studio) -> None:
    page = visit(browser, studio)
    settled(page, studio)
    before, fdi = pixels(page), studio.session.work.planes["fdi"].copy()
    tooth = fdi == 11
    y, x = (float(values.mean()) for values in np.nonzero(tooth))
    page.keyboard.press("t")
    drag(page, [(x, y)])
    assert page.locator("#selection").inner_text().startswith("only tooth 11")
    page.locator(".swatch", has_text="restoration").click()
    for row in range(-16, 17, 4):
        drag(page, [(x - 12, y + row), (x + 12, y + row)])
    until(lambda: studio.session.work.version > 8)
    settled(page, studio)
    seg = studio.session.work.planes["segmentation"]
    assert (seg[tooth] == 4).mean() > 0.9, "the tooth is painted"
    assert not ((seg == 4) & ~tooth & (studio.session.work.base.conditions["segmentation"] != 4)).any(), "nothing else"
    change = np.abs(pixels(page).astype(int) - before).mean(-1)
    far = np.ones_like(tooth)
    far[max(0, int(y) - 40) : int(y) + 40, max(0, int(x) - 40) : int(x) + 40] = False
    assert change[tooth].mean() > 3 * change[far].mean()
    seen = page.locator("#figures div").filter(has=page.locator('[data-figure="finding"]'))
    until(seen.count, 60)
    assert seen.locator("dt").inner_text() == "restoration"
    assert seen.locator("dd").inner_text() in ("found", "not found")
    page.keyboard.press("Control+z")


@pytest.mark.slow
def test_what_is_saved_is_what_a_build_makes(browser: Any, studio: Studio) -> None:
    page = visit(browser, studio)
    page.locator(".swatch", has_text="gingiva").click()
    drag(page, [(40, 40), (70, 60)])
    page.locator("#add-layer").click()
    until(lambda: studio.session.work.layers)
    drag(page, [(30, 64), (90, 64)])
    page.locator('.layer input[data-field="prompt"]').fill("yellow teeth, red gums")
    until(lambda: studio.session.work.layers[0].prompt == "yellow teeth, red gums")
    page.locator("#save").click()
    until(lambda: page.locator("#saver[open]").count(), 120)
    command = page.locator("#saver-code").inner_text()
    spec = read_spec(re.fullmatch(r"dentgen generate (\S+)", command)[1])  # type: ignore[index]
    assert spec.regions.painted == 1
    build(spec, use_ray=False)
    built: dict[str, bytes] = {}
    for shard in Path(spec.output.path, "shards").glob("*.tar"):
        with tarfile.open(shard) as tar:
            built |= {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    saved = {path.name: path.read_bytes() for path in (Path(spec.output.path).parent / "pictures").iterdir()}
    assert len(saved) == 2
    for name, content in saved.items():
        assert built[name] == content, name
    assert io.BytesIO(saved[min(saved)]).getvalue() != saved[max(saved)]


@pytest.mark.slow
def test_a_small_dataset_is_built_from_the_page(browser: Any, studio: Studio) -> None:
    page = visit(browser, studio)
    page.click("#build")
    page.select_option("#build-series", "light")
    page.fill("#build-count", "3")
    page.fill("#build-name", "no/name")
    page.click("#build-start")
    until(lambda: "no/name" in page.locator("#build-state").inner_text())
    page.fill("#build-name", "swing")
    page.click("#build-start")
    until(lambda: page.locator("#saver").is_visible(), 120)
    place = studio.session.folder / "swing"
    assert page.locator("#saver-code").inner_text() == f"dentgen verify {place / 'dataset'}"
    assert page.locator("#saver-text").inner_text().startswith("3 pictures.")
    assert list(verify(str(place / "dataset"))) == []
    before = frames(page)
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    until(lambda: frames(page) > before)


@pytest.mark.slow
def test_a_permanent_link_brings_everything_back(browser: Any, studio: Studio) -> None:
    page = visit(browser, studio)
    page.locator(".swatch", has_text="gingiva").click()
    drag(page, [(40, 40), (70, 60)])
    page.locator("#prompt").fill("white teeth, dark red gums")
    page.locator("#prompt").press("Enter")
    until(lambda: studio.session.work.prompt == "white teeth, dark red gums")
    painted = studio.session.work.planes["segmentation"]
    page.locator("#link").click()
    state = until(lambda: re.fullmatch(r"#s=([0-9a-f]{16})", page.evaluate("location.hash")))[1]
    page.locator("#open").click()
    page.locator("#empty").click()
    until(lambda: studio.session.work.base.key == "drawing")
    again = browser.new_context().new_page()
    again.goto(studio.address)
    again.goto("about:blank")
    again.goto(f"{studio.origin}/#s={state}")
    until(lambda: studio.session.work.base.key != "drawing")
    assert np.array_equal(studio.session.work.planes["segmentation"], painted)
    until(lambda: again.locator("#prompt").input_value() == "white teeth, dark red gums")


@pytest.mark.slow
def test_prompts_change_pictures_in_mid_stream_and_errors_are_shown(browser: Any, studio: Studio) -> None:
    page = visit(browser, studio)
    settled(page, studio)
    before = pixels(page).astype(int)
    page.locator("#prompt").fill("dark yellow teeth, dark red gums")
    settled_after(page, studio, lambda: studio.session.work.prompt.startswith("dark"))
    assert np.abs(pixels(page) - before).mean() > 1
    page.locator("#prompt").fill("teeth " * 90)
    until(lambda: page.locator("#problem").is_visible())
    assert "tokens" in page.locator("#problem").inner_text()
    page.locator("#prompt").fill("white teeth")
    until(lambda: not page.locator("#problem").is_visible())


def settled_after(page: Any, studio: Studio, condition: Any) -> None:
    until(condition)
    settled(page, studio)


@pytest.mark.slow
def test_two_browsers_one_closed_one_reloaded(browser: Any, studio: Studio) -> None:
    one, other = visit(browser, studio), visit(browser, studio)
    drag(one, [(30, 40), (60, 40)])
    until(lambda: not other.locator("#undo").is_disabled())
    one.close()
    other.locator("#reroll").evaluate("button => button.click()")
    until(lambda: studio.session.work.settings.seed != 0)
    settled(other, studio)
    other.reload()
    until(lambda: frames(other) > 0)
    seg = pixels(other, "map-canvas")
    assert seg.std() > 20, "the maps came again"


@pytest.mark.slow
def test_hostile_names_are_shown_as_text(browser: Any, studio: Studio) -> None:
    hostile = "<img src=x onerror=document.title=1>"
    page = visit(browser, studio)
    errors: list[str] = []
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    work = studio.session.work
    record = work.snapshot().record
    studio.loop.call_soon_threadsafe(work.open, replace(record, key=hostile, prompt=hostile))
    until(lambda: page.locator("#key").inner_text() == hostile)
    assert page.locator("#prompt").input_value() == hostile
    studio.loop.call_soon_threadsafe(work.add_layer, hostile, hostile)
    until(lambda: page.locator(".layer").count() == 1)
    page.locator("#open").click()
    page.locator("#place").fill(hostile)
    page.locator("#list").click()
    until(lambda: page.locator("#opener-error").is_visible())
    assert page.locator("img[src=x]").count() == 0
    assert page.title() == "dentgen studio"
    assert errors == []


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1024, 768), (1440, 900)])
def test_nothing_is_cut_off_at_any_width(browser: Any, studio: Studio, width: int, height: int) -> None:
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.goto(studio.address)
    until(lambda: frames(page) > 0)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("save", "paint-canvas", "picture", "tool-brush", "tab-model", "prompt"):
        box = page.locator(f"#{name}").bounding_box()
        assert box["x"] >= 0, name
        assert box["x"] + box["width"] <= width + 1, name
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select')].filter((e) => e.offsetParent &&
        !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML)"""
    )
    assert unnamed == [], "every control has a name"


@pytest.mark.slow
def test_latency_and_rate_in_the_browser(
    browser: Any, studio: Studio, generator: Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures of the docs: from the end of a stroke to the first changed picture and the first whole one; the rate.

    The bare engine is measured before and after, because other work on the machine changes it.
    """
    page = visit(browser, studio)
    settled(page, studio)
    latencies: dict[str, list[float]] = {"changed": [], "whole": []}
    page.locator(".swatch", has_text="gingiva").click()
    for row in range(40, 88, 8):
        settled(page, studio)
        drag(page, [(40, row), (80, row)])
        time.sleep(0.3)  # the last part of the stroke is on its way
        settled(page, studio)
        for kind, times in latencies.items():
            times.append(page.evaluate(f"window.studio.stream.{kind} - window.studio.lastStroke().ended"))
    page.locator("#play").click()
    bare = [bare_rate(generator, studio)]
    page.locator("#lock").click()
    page.locator("#play").click()
    first = frames(page)
    until(lambda: frames(page) > first + 2)
    begun, count = time.monotonic(), frames(page)
    time.sleep(12)
    rate = (frames(page) - count) / (time.monotonic() - begun)
    page.locator("#play").click()
    bare.append(bare_rate(generator, studio))
    with capsys.disabled():
        for kind, times in latencies.items():
            sys.stdout.write(f"\n{kind} ms: median {np.median(times):.0f}, all {[round(each) for each in times]}")
        share = rate / np.mean(bare)
        sys.stdout.write(f"\nstream {rate:.2f} fps, bare engine {bare[0]:.2f}, {bare[1]:.2f} fps: {share:.2f}\n")
    assert rate > 0.5 * min(bare)


def bare_rate(generator: Generator, studio: Studio) -> float:
    """Pictures a second of a live canvas alone; the studio is paused."""
    snapshot = studio.session.work.snapshot()
    with LiveCanvas(generator, snapshot.record.prompt, regions=0, record=snapshot.record) as live:
        pictures = live.frames()
        next(pictures)
        begun = time.monotonic()
        for _ in range(12):
            next(pictures)
        return 12 / (time.monotonic() - begun)
