"""A studio that runs in a thread of the test's process, and a browser that drives it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import pytest

from dentgen.generation.generator import Generator
from dentgen.studio.openers import Places, opened
from dentgen.studio.server import Binding, running
from dentgen.studio.session import Session
from tests.conftest import JAWS

CHROMIUM: Final = Path("/usr/bin/chromium")
TOKEN: Final = "test-token-0123456789"


@dataclass(frozen=True)
class Studio:
    """A running studio."""

    session: Session
    address: str
    loop: asyncio.AbstractEventLoop

    @property
    def origin(self) -> str:
        """The address without its token."""
        return self.address.partition("/?")[0]


@contextmanager
def served(generator: Generator, folder: Path, token: str = TOKEN, host: str = "127.0.0.1") -> Iterator[Studio]:
    """Serve the first record of ``JAWS`` from a thread; ends with all threads joined."""
    places = Places()
    record = opened(places.record(places.add(str(JAWS)), 0).read(), generator.spec)
    session = Session(generator, record, folder, places)
    begun, end, found = Event(), Event(), dict[str, Any]()

    async def serve() -> None:
        async with running(session, Binding(host, 0, token)) as address:
            found.update(address=address, loop=asyncio.get_running_loop())
            begun.set()
            await asyncio.to_thread(end.wait)

    thread = Thread(target=lambda: asyncio.run(serve()), name="studio under test")
    thread.start()
    try:
        assert begun.wait(60)
        yield Studio(session, found["address"], found["loop"])
    finally:
        end.set()
        thread.join(60)
        assert not thread.is_alive(), "the studio must end"


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser; the test is skipped where there is none."""
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait until something is true; the page's policy forbids Playwright's own way, which evaluates text."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
    return value


def frames(page: Any) -> int:
    """Pictures that a page has shown."""
    return int(page.evaluate("window.studio?.stream.frames ?? 0"))


def shown_version(page: Any) -> int:
    """Version of the document that the page's picture shows."""
    return int(page.evaluate("window.studio?.stream.version ?? -1"))


def pixels(page: Any, canvas: str = "picture") -> Any:
    """Pixels of a canvas (H, W, 3) uint8."""
    import numpy as np

    values, width, height = page.evaluate(
        f"""() => {{ const c = document.getElementById('{canvas}');
        return [[...c.getContext('2d').getImageData(0, 0, c.width, c.height).data], c.width, c.height]; }}"""
    )
    return np.array(values, np.uint8).reshape(height, width, 4)[..., :3]


def drag(page: Any, points: list[tuple[float, float]]) -> None:
    """Draw with the mouse along points in map pixels."""
    box = page.locator("#paint-canvas").bounding_box()
    width, height = page.evaluate(
        "[document.getElementById('paint-canvas').width, document.getElementById('paint-canvas').height]"
    )
    places = [(box["x"] + x / width * box["width"], box["y"] + y / height * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=3)
    page.mouse.up()
