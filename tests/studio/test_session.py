"""The studio in a real browser: painting changes pictures where it was painted; what is saved is what a build makes."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dentgen.generation.generator import Generator
from dentgen.pipeline.run import build
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
    built = {}
    for shard in Path(spec.output.path, "shards").glob("*.tar"):
        with tarfile.open(shard) as tar:
            built |= {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    saved = {path.name: path.read_bytes() for path in (Path(spec.output.path).parent / "pictures").iterdir()}
    assert len(saved) == 2
    for name, content in saved.items():
        assert built[name] == content, name
    assert io.BytesIO(saved[min(saved)]).getvalue() != saved[max(saved)]
