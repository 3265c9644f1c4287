"""The connected browsers: each gets all messages in order, and of pictures only the latest that it has time for."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

#: Messages that may wait for a browser; one that does not read them is disconnected, and loads all anew.
_MOST_WAITING: Final = 1000


class Browser:
    """One connection. Only the event loop's thread may use it."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        """Take an open socket; nothing is sent before ``run``."""
        self._socket = socket
        self._waiting: deque[str | bytes] = deque()
        self._latest: dict[str, str | bytes] = {}
        self._more = asyncio.Event()

    def send(self, message: str | bytes) -> None:
        """Queue a message."""
        self._waiting.append(message)
        self._more.set()

    def send_latest(self, kind: str, message: str | bytes) -> None:
        """Queue a message in place of one of its kind that was not sent yet."""
        self._latest[kind] = message
        self._more.set()

    async def run(self) -> None:
        """Send until the connection ends."""
        while not self._socket.closed:
            await self._more.wait()
            self._more.clear()
            if len(self._waiting) > _MOST_WAITING:
                await self._socket.close()
                return
            while self._waiting or self._latest:
                message = self._waiting.popleft() if self._waiting else self._latest.pop(next(iter(self._latest)))
                await self._send(message)

    async def _send(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            await self._socket.send_bytes(message)
        else:
            await self._socket.send_str(message)


class Browsers:
    """All connections, which see the same document."""

    def __init__(self) -> None:
        """Nobody is connected."""
        self._all: set[Browser] = set()

    def __len__(self) -> int:
        """Number of connections."""
        return len(self._all)

    def add(self, browser: Browser) -> None:
        """Add a connection."""
        self._all.add(browser)

    def remove(self, browser: Browser) -> None:
        """Forget a connection that has ended."""
        self._all.discard(browser)

    def send(self, message: str | bytes) -> None:
        """Send to all."""
        for browser in self._all:
            browser.send(message)

    def send_latest(self, kind: str, message: str | bytes) -> None:
        """Send to all, in place of what they have not been sent yet."""
        for browser in self._all:
            browser.send_latest(kind, message)


def text(message: Mapping[str, Any]) -> str:
    """A message as JSON."""
    return json.dumps(message, allow_nan=False)
