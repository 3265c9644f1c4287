"""An HTTP proxy before an S3 endpoint that answers as a bad day at S3 does, a given number of times."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

ERRORS = {
    "500": "InternalError",
    "503": "SlowDown",
    "409": "ConditionalRequestConflict",
    "412": "PreconditionFailed",
}
SLOW_SECONDS = 0.5

Answer = tuple[int, dict[str, str], bytes]


class FaultProxy(ThreadingHTTPServer):
    """Forwards to ``endpoint``; ``plan`` holds the faults still to come, for requests that ``when`` chooses.

    A fault is a status, or: "reset" closes the connection before the request is passed on, "cut" in the middle of its
    body, "late" after it: the work is done, its answer lost. "slow" takes its time. "stale" answers what the same
    request was answered the first time.
    """

    daemon_threads = True

    def __init__(self, endpoint: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(endpoint).netloc
        self.plan: list[str] = []
        self.hit: list[str] = []
        self.when: Callable[[str, str], bool] = lambda method, path: True
        self.first: dict[str, Answer] = {}
        self._lock = threading.Lock()

    def next_fault(self, method: str, path: str) -> str:
        with self._lock:
            if not self.plan or not self.when(method, path):
                return ""
            self.hit.append(method)
            return self.plan.pop(0)


class _Handler(BaseHTTPRequestHandler):
    server: FaultProxy
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        fault = self.server.next_fault(self.command, self.path)
        body = self.rfile.read(size // 2 if fault == "cut" else size)
        if fault in {"reset", "cut"}:
            self._cut()
        elif fault in ERRORS:
            self._send(int(fault), {}, f"<Error><Code>{ERRORS[fault]}</Code><Message>x</Message></Error>".encode())
        else:
            time.sleep(SLOW_SECONDS if fault == "slow" else 0)
            answer = self._forward(body)
            if self.command == "GET":
                answer = self.server.first.setdefault(self.path, answer) if fault == "stale" else answer
                self.server.first.setdefault(self.path, answer)
            if fault == "late":
                self._cut()
            else:
                self._send(*answer)

    def _forward(self, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self.server.target)
        connection.request(self.command, self.path, body, dict(self.headers.items()))
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        skipped = {"transfer-encoding", "connection", "date", "server"}
        if self.command != "HEAD":
            headers = {**{k: v for k, v in headers.items() if k.lower() != "content-length"}}
            headers["Content-Length"] = str(len(content))
        for name, value in headers.items():
            if name.lower() not in skipped:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content if self.command != "HEAD" else b"")

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815 - names of the base class


@contextmanager
def fault_proxy(endpoint: str) -> Iterator[FaultProxy]:
    """A running proxy."""
    proxy = FaultProxy(endpoint)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
