"""As much of the API of Kubernetes as a tick talks to, on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dentgen.cluster.tick import RayJobs

Manifest = dict[str, Any]
NAMESPACE = "research"
TOKEN = "token-of-the-account"
_PATH = f"/apis/ray.io/v1/namespaces/{NAMESPACE}/rayjobs"


class ApiServer:
    """RayJobs by name; creating is allowed once per name, to whoever has the token."""

    def __init__(self) -> None:
        self.jobs: dict[str, Manifest] = {}
        self.broken = False
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                job = server.jobs.get(self.path.removeprefix(f"{_PATH}/"))
                self._answer(200, job) if job else self._answer(404, _status(404, f"{self.path} not found"))

            def do_POST(self) -> None:
                assert (self.path, self.headers["Content-Type"]) == (_PATH, "application/json")
                job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name = job["metadata"]["name"]
                if name in server.jobs:
                    self._answer(409, _status(409, f"{name} already exists"))
                else:
                    server.jobs[name] = job
                    self._answer(201, job)

            def _answer(self, status: int, body: Manifest) -> None:
                if self.headers["Authorization"] != f"Bearer {TOKEN}":
                    status, body = 403, _status(403, "rayjobs.ray.io is forbidden")
                content = b"<html>" if server.broken else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def account(self, token: str = TOKEN) -> RayJobs:
        """The namespace as an account with a token sees it."""
        port = self.http.server_address[1]
        return RayJobs(lambda: HTTPConnection("127.0.0.1", port, timeout=60), token, NAMESPACE)


def _status(code: int, message: str) -> Manifest:
    return {"kind": "Status", "code": code, "message": message}


@contextmanager
def running_api() -> Iterator[ApiServer]:
    """A server for the time of the block."""
    server = ApiServer()
    thread = threading.Thread(target=server.http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()
