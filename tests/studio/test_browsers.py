"""Connections: messages in order, of pictures the latest, and nobody waits for a slow browser."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from dentgen.studio.browsers import Browser, Browsers, text


class Socket:
    """A connection whose other end takes one message each time it is allowed to."""

    def __init__(self) -> None:
        self.sent: list[str | bytes] = []
        self.closed = False
        self.allowed = asyncio.Semaphore(0)

    async def send_str(self, message: str) -> None:
        await self.allowed.acquire()
        self.sent.append(message)

    send_bytes: Any = send_str

    async def close(self) -> None:
        self.closed = True


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def run(scenario: Any) -> list[str | bytes]:
    async def whole() -> list[str | bytes]:
        socket = Socket()
        browser = Browser(socket)  # type: ignore[arg-type]
        sending = asyncio.create_task(browser.run())
        await scenario(browser, socket)
        await settle()
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        return socket.sent

    return asyncio.run(whole())


def test_a_slow_browser_gets_every_message_and_the_latest_picture() -> None:
    async def scenario(browser: Browser, socket: Socket) -> None:
        for number in range(5):
            browser.send(f"map {number}")
            browser.send_latest("frame", f"frame {number}")
            await settle()
        for _ in range(20):
            socket.allowed.release()

    sent = run(scenario)
    assert [each for each in sent if str(each).startswith("map")] == [f"map {number}" for number in range(5)]
    assert [each for each in sent if str(each).startswith("frame")] == ["frame 4"]


def test_a_browser_that_reads_nothing_is_let_go() -> None:
    async def scenario(browser: Browser, socket: Socket) -> None:
        for number in range(1500):
            browser.send(str(number))
        socket.allowed.release()
        await settle()
        assert socket.closed

    assert run(scenario) == []


def test_all_browsers_get_the_same() -> None:
    async def scenario(browser: Browser, socket: Socket) -> None:
        browsers, other = Browsers(), Socket()
        second = Browser(other)  # type: ignore[arg-type]
        browsers.add(browser)
        browsers.add(second)
        sending = asyncio.create_task(second.run())
        for each in (socket, other):
            each.allowed.release()
            each.allowed.release()
        browsers.send("one")
        browsers.send_latest("state", "two")
        await settle()
        assert other.sent == socket.sent == ["one", "two"]
        browsers.remove(second)
        assert len(browsers) == 1
        sending.cancel()

    assert run(scenario) == ["one", "two"]


def test_texts_are_json() -> None:
    assert text({"a": "ä"}) == '{"a": "\\u00e4"}'
