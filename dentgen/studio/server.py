"""The studio's web server: the page, its socket, thumbnails; started and stopped with its threads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import WSMsgType, web

from dentgen.errors import DentgenError
from dentgen.shards.tar import png_bytes
from dentgen.studio.access import Access
from dentgen.studio.browsers import Browser
from dentgen.studio.openers import thumbnail
from dentgen.studio.review import Review
from dentgen.studio.session import Session
from dentgen.studio.uploads import uploaded

PAGE: Final = Path(__file__).parent / "page"
#: Largest upload, and largest message of the page.
MAX_UPLOAD: Final = 20 * 2**20
_MAX_MESSAGE: Final = 2**20
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_SESSION: Final = web.AppKey("session", Session)


@dataclass(frozen=True, slots=True)
class Binding:
    """Where the server listens, and the token that its visitors must know.

    Attributes:
        host: Address to bind.
        port: Port; 0 takes a free one.
        token: Secret of the first address; "" asks for none.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str = ""

    def address(self, port: int) -> str:
        """What a user opens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}/" + (f"?token={self.token}" if self.token else "")


def application(session: Session, binding: Binding, review: Review | None = None) -> web.Application:
    """The web application, with a check sheet if there is one."""
    app = web.Application(middlewares=[Access(binding.token, binding.host).checked], client_max_size=MAX_UPLOAD)
    app[_SESSION] = session
    app.router.add_get("/", _page)
    app.router.add_get("/page/{name}", _page)
    app.router.add_get("/socket", _socket)
    app.router.add_post("/upload", _upload)
    app.router.add_get("/thumbnail/{place}/{record}", _thumbnail)
    if review is not None:
        review.add_to(app)
    return app


@contextlib.asynccontextmanager
async def running(session: Session, binding: Binding, review: Review | None = None) -> AsyncIterator[str]:
    """Serve within the block; yields the address.

    Raises:
        OSError: If the port cannot be bound.
    """
    runner = web.AppRunner(application(session, binding, review), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, binding.host, binding.port)
        await site.start()
        session.start()
        yield binding.address(runner.addresses[0][1])
    finally:
        await asyncio.to_thread(session.close)
        await runner.cleanup()


async def serve(
    session: Session, binding: Binding, ready: Callable[[str], None], review: Review | None = None
) -> None:  # fmt: skip
    """Serve until the task is cancelled.

    Args:
        session: What is served.
        binding: Where.
        ready: Called with the address once it can be opened.
        review: A check sheet to serve beside it.
    """
    async with running(session, binding, review) as address:
        ready(address)
        await asyncio.Event().wait()


async def _page(request: web.Request) -> web.StreamResponse:
    name = request.match_info.get("name", "index.html")
    path = PAGE / name
    if path.parent != PAGE or path.suffix not in _TYPES or not path.is_file():
        raise web.HTTPNotFound
    return web.Response(body=path.read_bytes(), content_type=_TYPES[path.suffix], charset="utf-8")


async def _socket(request: web.Request) -> web.StreamResponse:
    session = request.app[_SESSION]
    socket = web.WebSocketResponse(heartbeat=20.0, max_msg_size=_MAX_MESSAGE, compress=False)
    await socket.prepare(request)
    browser = Browser(socket)
    session.greet(browser)
    session.browsers.add(browser)
    sending = asyncio.create_task(_sent(browser))
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await session.answer(browser, message.data)
    finally:
        session.browsers.remove(browser)
        sending.cancel()
    return socket


async def _sent(browser: Browser) -> None:
    """Send until the browser is gone."""
    with contextlib.suppress(ConnectionError):
        await browser.run()


async def _upload(request: web.Request) -> web.StreamResponse:
    """Open a record of uploaded files; the body is at most ``MAX_UPLOAD`` bytes."""
    session = request.app[_SESSION]
    parts: dict[str, bytes] = {}
    for name, part in (await request.post()).items():
        parts[name] = part.file.read() if isinstance(part, web.FileField) else b""
    try:
        record = await asyncio.to_thread(uploaded, parts, session.generator.spec)
    except DentgenError as error:
        return web.json_response({"error": str(error)}, status=400)
    session.work.open(record)
    return web.json_response({"warnings": list(record.warnings)})


async def _thumbnail(request: web.Request) -> web.StreamResponse:
    session = request.app[_SESSION]
    try:
        place, number = int(request.match_info["place"]), int(request.match_info["record"])
        record = session.places.record(place, number)
        content = await asyncio.to_thread(lambda: png_bytes(thumbnail(record.read())))
    except (DentgenError, ValueError) as error:
        raise web.HTTPNotFound(text=str(error)) from error
    return web.Response(body=content, content_type="image/png")
