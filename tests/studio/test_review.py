"""A check sheet that the studio serves: filled in by keys in a browser, kept beside the build, refused if wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, CookieJar, web

from dentgen.curation.check_sheet import CheckSheet, draw_sheet
from dentgen.curation.check_verdicts import stored_verdicts
from dentgen.studio.access import Access
from dentgen.studio.review import Review
from tests.curation.checked_build import checked_build, filled_in
from tests.studio.serving import chromium, until

TOKEN = "s3cret-token"


@pytest.fixture
def sheet(tmp_path: Path) -> CheckSheet:
    checked_build(tmp_path, passed=6, failed=2)
    return draw_sheet(str(tmp_path), 6)


@contextmanager
def served(out: Path, sheet: CheckSheet) -> Iterator[str]:
    """The sheet alone, behind the studio's checks; yields the address of its page without the token."""
    begun, end, found = threading.Event(), threading.Event(), list[str]()

    async def serve() -> None:
        app = web.Application(middlewares=[Access(TOKEN, "127.0.0.1").checked])
        Review(str(out), sheet).add_to(app)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.append(f"http://127.0.0.1:{runner.addresses[0][1]}/review")
        begun.set()
        await asyncio.to_thread(end.wait)
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert begun.wait(60)
        yield found[0]
    finally:
        end.set()
        thread.join(60)


def posted(address: str, content: str, *, token: bool = True) -> tuple[int, dict[str, Any]]:
    async def whole() -> tuple[int, dict[str, Any]]:
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as client:
            if token:
                async with client.get(f"{address}?token={TOKEN}") as page:
                    assert (page.status, page.url.query_string) == (200, "")
                    assert "connect-src 'self'" in page.headers["Content-Security-Policy"]
            async with client.post(address, data=content) as answer:
                return answer.status, await answer.json() if answer.status in {200, 400} else {}

    return asyncio.run(whole())


def test_answers_are_kept_beside_the_build(tmp_path: Path, sheet: CheckSheet) -> None:
    verdicts = filled_in(sheet, passed=True, failed=False)
    with served(tmp_path, sheet) as address:
        for _ in range(2):
            said = posted(address, verdicts.model_dump_json())
            assert said == (200, {"kept": "6 answers, 1 people so far"})
    assert [found for _, found in stored_verdicts(str(tmp_path))] == [verdicts]


def test_wrong_answers_and_strangers_are_refused(tmp_path: Path, sheet: CheckSheet) -> None:
    other = filled_in(sheet, passed=True).model_copy(update={"seed": 1})
    with served(tmp_path, sheet) as address:
        for content, word in (("{", "not a filled-in check sheet"), (other.model_dump_json(), "seed")):
            status, said = posted(address, content)
            assert (status, word in said["error"]) == (400, True)
        assert posted(address, filled_in(sheet, passed=True).model_dump_json(), token=False)[0] == 401
    assert list(stored_verdicts(str(tmp_path))) == []


@pytest.mark.slow
def test_ten_pictures_are_judged_by_keys_in_a_browser(tmp_path: Path) -> None:
    checked_build(tmp_path, passed=8, failed=6)
    sheet = draw_sheet(str(tmp_path), 10)
    with served(tmp_path, sheet) as address, chromium() as browser:
        page, asked = browser.new_page(), list[str]()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}?token={TOKEN}")
        for key in ("a", "a", "2", "a", "4", "a", "a", "a", "6", "a", "s"):
            page.keyboard.press(key)
        until(lambda: "10 answers" in page.locator("#status").inner_text())
        origin = address.removesuffix("/review")
        assert all(url.startswith((origin, "data:")) for url in asked)
    ((_, verdicts),) = stored_verdicts(str(tmp_path))
    answers = [verdicts.verdicts[entry.key] for entry in sheet.entries]
    assert [number for number, each in enumerate(answers) if not each.accept] == [2, 4, 8]
    assert [each.reason for each in answers if not each.accept] == ["anatomy", "blurred", "other"]
