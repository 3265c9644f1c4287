"""Who is let in: token, host and origin, in requests that a real server answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientSession, CookieJar, web

from dentgen.studio.access import POLICY, Access, is_loopback

TOKEN = "s3cret-token"


async def answers(access: Access, requests: list[tuple[str, dict[str, str]]]) -> list[tuple[int, dict[str, Any]]]:
    """Statuses and headers of requests, one after the other, by one client that keeps cookies."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="page")

    app = web.Application(middlewares=[access.checked])
    app.router.add_get("/", page)
    app.router.add_get("/socket", page)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    found = []
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as client:
        for path, headers in requests:
            sent = {name: value.replace("PORT", str(port)) for name, value in headers.items()}
            async with client.get(f"http://127.0.0.1:{port}{path}", headers=sent, allow_redirects=False) as answer:
                found.append((answer.status, dict(answer.headers)))
    await runner.cleanup()
    return found


def statuses(access: Access, *requests: tuple[str, dict[str, str]]) -> list[int]:
    return [status for status, _ in asyncio.run(answers(access, list(requests)))]


def test_the_token_opens_and_the_cookie_keeps_open() -> None:
    access = Access(TOKEN, "127.0.0.1")
    found = statuses(access, ("/", {}), ("/socket", {}), (f"/?token={TOKEN}", {}), ("/", {}), ("/socket", {}))
    assert found == [401, 401, 303, 200, 200]


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", "ä"])
def test_another_token_does_not(token: str) -> None:
    assert statuses(Access(TOKEN, "127.0.0.1"), (f"/?token={token}", {}), ("/", {})) == [401, 401]


def test_the_cookie_is_closed_to_scripts_and_other_sites() -> None:
    ((_, headers),) = asyncio.run(answers(Access(TOKEN, "127.0.0.1"), [(f"/?token={TOKEN}", {})]))
    assert "HttpOnly" in headers["Set-Cookie"]
    assert "SameSite=Strict" in headers["Set-Cookie"]
    assert headers["Location"] == "/", "the token leaves the address"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:PORT", "127.0.0.1.evil.example", "192.168.1.4"])
def test_names_that_others_chose_are_refused(host: str) -> None:
    """DNS rebinding: a page of evil.example whose name now means 127.0.0.1."""
    assert statuses(Access("", "127.0.0.1"), ("/", {"Host": host}), ("/", {"Host": "localhost:PORT"})) == [403, 200]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost:PORT"])
def test_pages_of_other_origins_get_no_socket(origin: str) -> None:
    own = ("/socket", {"Origin": "http://127.0.0.1:PORT"})
    assert statuses(Access("", "127.0.0.1"), ("/socket", {"Origin": origin}), own) == [403, 200]


def test_embedded_requests_of_other_sites_are_refused() -> None:
    assert statuses(Access("", "127.0.0.1"), ("/socket", {"Sec-Fetch-Site": "cross-site"})) == [403]


def test_pages_may_load_nothing_from_elsewhere() -> None:
    ((_, headers),) = asyncio.run(answers(Access("", "127.0.0.1"), [("/", {})]))
    assert headers["Content-Security-Policy"] == POLICY
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost"])
def test_loopback_addresses(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "studio.example", ""])
def test_addresses_that_others_reach(host: str) -> None:
    assert not is_loopback(host)
