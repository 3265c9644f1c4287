"""Who may talk to the studio: a token, the names that it answers to, and what a page may load."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

COOKIE: Final = "dentgen-studio"
#: No inline code, nothing from elsewhere; pictures are made of bytes that the page has.
POLICY: Final = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
#: Pages whose addresses people are given, with the token.
_FIRST: Final = ("/", "/review")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Access:
    """What requests must carry.

    Attributes:
        token: Secret of the first address; "" asks for none.
        host: Host that the server was bound to. Under a loopback address only loopback names are answered, so that no
            web page can reach the studio by a name of its own (DNS rebinding).
    """

    token: str
    host: str

    @web.middleware
    async def checked(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Refuse what has not the right host, origin and token; add the headers that bind the page."""
        self._check_host(request)
        if request.path in _FIRST and self.token and "token" in request.query:
            response: web.StreamResponse = self._first_page(request)
        else:
            self._check_token(request)
            response = await handler(request)
        if not response.prepared:
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)  # the check sheet has a stricter policy of its own
        return response

    def _check_host(self, request: web.Request) -> None:
        name = urlsplit(f"//{request.host}").hostname or ""
        if is_loopback(self.host) and not is_loopback(name):
            raise web.HTTPForbidden(text="wrong host: open the address that dentgen studio printed")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="wrong origin: open the address that dentgen studio printed")
        if request.headers.get("Sec-Fetch-Site", "same-origin") == "cross-site" and request.path not in _FIRST:
            raise web.HTTPForbidden(text="asked from another site")

    def _check_token(self, request: web.Request) -> None:
        if self.token and not secrets.compare_digest(
            request.cookies.get(self._cookie(request), "").encode(), self.token.encode()
        ):
            raise web.HTTPUnauthorized(text="no token: open the address that dentgen studio printed")

    def _first_page(self, request: web.Request) -> web.StreamResponse:
        """Take the token out of the address and into a cookie."""
        if not secrets.compare_digest(request.query["token"].encode(), self.token.encode()):
            raise web.HTTPUnauthorized(text="wrong token: open the address that dentgen studio printed")
        response = web.Response(status=303, headers={"Location": request.path})
        response.set_cookie(self._cookie(request), self.token, httponly=True, samesite="Strict", path="/")
        return response

    def _cookie(self, request: web.Request) -> str:
        """Cookies are shared by all ports of a host: two studios would log each other's users out."""
        return f"{COOKIE}-{urlsplit(f'//{request.host}').port or 0}"
