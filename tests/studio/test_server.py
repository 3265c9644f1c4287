"""The web server over real sockets: pages, uploads, wrong messages, two browsers, and a clean end."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, CookieJar, FormData, WSMsgType

from dentgen.generation.generator import Generator
from dentgen.shards.tar import png_bytes
from dentgen.studio.server import MAX_UPLOAD, PAGE, Binding
from tests.studio.documents import small_record
from tests.studio.serving import Studio, served


@pytest.fixture(scope="module")
def studio(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with served(generator, tmp_path_factory.mktemp("saved")) as one:
        yield one


def visit(studio: Studio, scenario: Any) -> Any:
    """Run a scenario as a visitor with the token."""

    async def whole() -> Any:
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as client:
            async with client.get(studio.address) as page:
                assert page.status == 200
            return await asyncio.wait_for(scenario(client), 120)

    return asyncio.run(whole())


async def received(socket: ClientWebSocketResponse, wanted: str) -> dict[str, Any]:
    """The next message of a type."""
    while True:
        message = await socket.receive(60)
        assert message.type in {WSMsgType.TEXT, WSMsgType.BINARY}, message
        if message.type is WSMsgType.TEXT:
            header = json.loads(message.data)
        else:
            (length,) = struct.unpack("<I", message.data[:4])
            header = json.loads(message.data[4 : 4 + length])
        if header["type"] == wanted:
            return header


def test_the_page_and_its_files_are_served_and_nothing_else(studio: Studio) -> None:
    async def scenario(client: ClientSession) -> None:
        for name in sorted(path.name for path in PAGE.iterdir()):
            async with client.get(f"{studio.origin}/page/{name}") as answer:
                assert (answer.status, await answer.read()) == (200, (PAGE / name).read_bytes())
        for wrong in ("page/..%2Fserver.py", "page/../server.py",
                      "page/none.js", "page/%2Fetc%2Fpasswd", "thumbnail/9/9",
                      "thumbnail/x/y"):  # fmt: skip
            async with client.get(f"{studio.origin}/{wrong}") as answer:
                assert answer.status == 404, wrong

    visit(studio, scenario)


@pytest.mark.integration
def test_a_socket_greets_with_everything(studio: Studio) -> None:
    async def scenario(client: ClientSession) -> None:
        async with client.ws_connect(f"{studio.origin}/socket") as socket:
            assert (await received(socket, "choices"))["width"] == 128
            assert (await received(socket, "state"))["key"] == studio.session.work.base.key
            names = [(await received(socket, "plane"))["name"] for _ in range(3)]
            assert names == ["segmentation", "lighting", "normal"]
            assert (await received(socket, "frame"))["number"] >= 0

    visit(studio, scenario)


def test_wrong_messages_are_answered_and_harm_nothing(studio: Studio) -> None:
    async def scenario(client: ClientSession) -> None:
        async with client.ws_connect(f"{studio.origin}/socket") as socket:
            for wrong in ("no json", '{"type": "shell"}', "[" * 5000, '{"type": "open", "place": 7, "record": 0}'):
                await socket.send_str(wrong)
                assert (await received(socket, "answer"))["error"]
            await socket.send_str('{"type": "spec", "id": 5}')
            answer = await received(socket, "answer")
            assert (answer["id"], "scheduler: unipc" in answer["spec"]) == (5, True)

    visit(studio, scenario)


def test_a_huge_message_ends_its_own_connection_alone(studio: Studio) -> None:
    async def scenario(client: ClientSession) -> None:
        async with (
            client.ws_connect(f"{studio.origin}/socket") as bad,
            client.ws_connect(f"{studio.origin}/socket") as good,
        ):
            await bad.send_str('{"type": "prompt", "prompt": "' + "x" * (2 * 2**20) + '"}')
            while (await bad.receive(60)).type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                pass
            await good.send_str('{"type": "spec", "id": 6}')
            assert (await received(good, "answer"))["id"] == 6

    visit(studio, scenario)


def test_two_browsers_share_a_document_and_one_may_leave(studio: Studio) -> None:
    async def scenario(client: ClientSession) -> None:
        one, other = [await client.ws_connect(f"{studio.origin}/socket") for _ in range(2)]
        for socket in (one, other):
            await received(socket, "state")
        await one.send_str('{"type": "prompt", "id": 1, "prompt": "seen by both"}')
        while (await received(other, "state"))["prompt"] != "seen by both":
            pass
        await one.close()
        await other.send_str('{"type": "prompt", "id": 2, "prompt": "white teeth"}')
        assert "version" in await received(other, "answer")
        await other.close()

    visit(studio, scenario)


def test_uploads_become_the_document_unless_they_are_wrong_or_too_large(studio: Studio) -> None:
    seg, light = small_record().conditions["segmentation"], small_record().conditions["lighting"]

    async def scenario(client: ClientSession) -> None:
        async def post(**parts: bytes) -> tuple[int, str]:
            form = FormData()
            for name, content in parts.items():
                form.add_field(name, content, filename="x.png")
            async with client.post(f"{studio.origin}/upload", data=form) as answer:
                return answer.status, await answer.text()

        status, words = await post(segmentation=b"GIF89a")
        assert (status, "complete PNG image" in words) == (400, True)
        version = studio.session.work.version
        assert (await post(segmentation=b"x" * (MAX_UPLOAD + 1)))[0] == 413
        assert studio.session.work.version == version
        assert (await post(segmentation=png_bytes(seg), lighting=png_bytes(light)))[0] == 200
        assert studio.session.work.base.key == "upload"

    visit(studio, scenario)


def test_uploads_of_other_sites_are_refused(studio: Studio) -> None:
    async def scenario(client: ClientSession) -> None:
        async with client.post(f"{studio.origin}/upload", headers={"Origin": "http://evil.example"}) as answer:
            assert answer.status == 403

    visit(studio, scenario)


@pytest.mark.integration
def test_nothing_is_left_when_it_ends(generator: Generator, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with served(generator, tmp_path):
        assert any(thread.name == "dentgen-studio-engine" for thread in threading.enumerate())
    assert {thread.name for thread in set(threading.enumerate()) - before if not thread.daemon} == set()


@pytest.mark.parametrize(
    ("binding", "expected"),
    [
        (Binding(), "http://127.0.0.1:80/"),
        (Binding("::1", token="t"), "http://[::1]:80/?token=t"),
    ],
)
def test_addresses(binding: Binding, expected: str) -> None:
    assert binding.address(80) == expected
