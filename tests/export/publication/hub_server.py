"""A server with the requests of the Hugging Face hub that a publication makes, for one process and without xet.

Requests and answers follow huggingface_hub's client and https://huggingface.co/docs/hub/api.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

_COMMIT: Final = "0" * 40


@dataclass
class Hub:
    """Content of a hub with datasets only.

    Attributes:
        endpoint: Its address.
        repositories: Files by name, by repository.
        private: Visibility of each repository, as it was asked for.
        objects: Large files by sha256, committed or not.
        puts: sha256 of every large file that was sent.
        commits: Message and names of each commit.
        gated: Repositories that only others see.
        refuse: Called with the sha256 of each large file; True answers with an error.
        tokens: Tokens that were sent.
    """

    endpoint: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)
    commits: list[tuple[str, list[str]]] = field(default_factory=list)
    gated: set[str] = field(default_factory=set)
    refuse: Callable[[str], bool] = lambda _: False
    tokens: set[str] = field(default_factory=set)


def _is_large(name: str) -> bool:
    return name.endswith((".tar", ".parquet", ".png"))


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._file()

    def do_GET(self) -> None:
        if "/resolve/" in self.path:
            self._file()
            return
        repository = self._match(r"/api/datasets/([^/]+/[^/]+?)(?:/tree/main)?")
        if repository in self.hub.gated:
            self._answer(403, {"error": "Access is restricted"}, {"X-Error-Code": "GatedRepo"})
            return
        files = self.hub.repositories.get(repository)
        if files is None:
            self._answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        if not urlsplit(self.path).path.endswith("/tree/main"):
            self._answer(200, {"id": repository, "private": self.hub.private.get(repository, False), "sha": _COMMIT})
            return
        self._answer(200, [_entry(name, content) for name, content in sorted(files.items())])

    def _file(self) -> None:
        """One file's content, or its headers alone."""
        _, _, owner, name, _, _, path = urlsplit(self.path).path.split("/", 6)
        content = self.hub.repositories[f"{owner}/{name}"][path]
        self.send_response(200)
        for header, value in (("X-Repo-Commit", _COMMIT), ("ETag", f'"{hashlib.sha256(content).hexdigest()}"')):
            self.send_header(header, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        self.hub.tokens.add(self.headers.get("Authorization", ""))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        elif "/preupload/" in path:
            self._preupload(json.loads(body))
        elif path.endswith("/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif "/commit/" in path:
            self._commit([json.loads(line) for line in body.splitlines()])
        else:
            self._answer(404, {"error": path})

    def do_PUT(self) -> None:
        name = self.path.removeprefix("/objects/")
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.hub.refuse(name):
            self._answer(403, {"error": "refused"})
            return
        assert hashlib.sha256(content).hexdigest() == name
        self.hub.objects[name] = content
        self.hub.puts.append(name)
        self._answer(200, {})

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        known = name in self.hub.repositories
        if not known:
            self.hub.repositories[name] = {".gitattributes": b"*.tar filter=lfs"}
            self.hub.private[name] = asked.get("visibility") == "private"
        self._answer(409 if known else 200, {"url": f"{self.hub.endpoint}/datasets/{name}"})

    def _preupload(self, asked: dict[str, Any]) -> None:
        names = [file["path"] for file in asked["files"]]
        modes = [{"path": n, "uploadMode": "lfs" if _is_large(n) else "regular", "shouldIgnore": False} for n in names]
        self._answer(200, {"files": modes})

    def _batch(self, asked: dict[str, Any]) -> None:
        objects = [{"oid": entry["oid"], "size": entry["size"]} for entry in asked["objects"]]
        for entry in objects:
            if entry["oid"] not in self.hub.objects:
                entry["actions"] = {"upload": {"href": f"{self.hub.endpoint}/objects/{entry['oid']}"}}
        self._answer(200, {"transfer": "basic", "objects": objects})

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        repository = self._match(r"/api/datasets/([^/]+/[^/]+)/commit/main")
        files = self.hub.repositories[repository]
        names, message = [], ""
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
                continue
            names.append(value["path"])
            large = line["key"] == "lfsFile"
            files[value["path"]] = self.hub.objects[value["oid"]] if large else base64.b64decode(value["content"])
        self.hub.commits.append((message, names))
        self._answer(
            200, {"commitUrl": f"{self.hub.endpoint}/datasets/{repository}/commit/{_COMMIT}", "commitOid": _COMMIT}
        )

    def _match(self, pattern: str) -> str:
        found = re.fullmatch(pattern, urlsplit(self.path).path)
        return found[1] if found else ""

    def _answer(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _entry(name: str, content: bytes) -> dict[str, Any]:
    entry = {"type": "file", "path": name, "size": len(content), "oid": _COMMIT}
    if _is_large(name):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub on loopback."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
