"""OpenLineage events of builds: valid by its schema, to files and servers, and never in a build's way."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dentgen.errors import BuildError, SpecError
from dentgen.pipeline.lineage import BuildLineage, EventSender, address_of, told_of
from dentgen.pipeline.run import build
from dentgen.shards.ledger import committed_units
from dentgen.spec.build import BuildSpec
from tests.conftest import small_spec, write_tar
from tests.pipeline.openlineage.schema import event_problems

RUN = uuid.UUID(int=7, version=4).hex


class Server:
    """A server on loopback that keeps what is posted to it."""

    def __init__(self, status: int = 201) -> None:
        self.got = list[tuple[str, dict[str, str], dict[str, Any]]]()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.got.append((self.path, dict(self.headers), json.loads(body)))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server()) as running:
        yield running


@pytest.fixture
def spec(small_source: Path, tmp_path: Path) -> BuildSpec:
    return small_spec(small_source, tmp_path / "out", sampling={"steps": 1})


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.integration
def test_a_build_tells_a_server_that_it_started_and_what_it_wrote(
    spec: BuildSpec, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = str(uuid.uuid4())
    monkeypatch.setenv("OPENLINEAGE_PARENT_ID", f"airflow/dags/teeth/{parent}")
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "planted")
    outcome = build(spec, use_ray=False, lineage=server.url)
    assert [path for path, _, _ in server.got] == ["/api/v1/lineage"] * 2
    assert {headers["Authorization"] for _, headers, _ in server.got} == {"Bearer planted"}
    start, complete = events = [event for _, _, event in server.got]
    assert [problem for event in events for problem in event_problems(event)] == []
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == complete["run"]["runId"]
    assert start["eventTime"] <= complete["eventTime"]
    facets = start["run"]["facets"]["parent"]
    assert (facets["job"], facets["run"]) == ({"namespace": "airflow", "name": "dags/teeth"}, {"runId": parent})
    ((read,), (made,)) = complete["inputs"], complete["outputs"]
    assert (read["namespace"], read["name"]) == ("file", spec.source.path)
    statistics = read["inputFacets"]["inputStatistics"]
    assert (statistics["rowCount"], statistics["fileCount"]) == (5, 2)
    assert statistics["size"] == sum(path.stat().st_size for path in Path(spec.source.path).iterdir())
    assert (made["namespace"], made["name"]) == ("file", spec.output.path)
    assert made["facets"]["version"]["datasetVersion"] == "0"
    written, index = made["outputFacets"]["outputStatistics"], outcome.index
    assert (written["rowCount"], written["fileCount"]) == (index.written, len(index.shards))
    assert written["size"] == sum(shard.bytes for shard in index.shards)


def test_a_build_that_fails_says_so_and_every_attempt_has_its_own_run(
    tmp_path: Path, demo_members: dict[str, dict[str, bytes]]
) -> None:
    key, file = min(demo_members), tmp_path / "logs" / "events.jsonl"
    write_tar(tmp_path / "s" / "a.tar", {key: {**demo_members[key], "seg.png": b"torn"}})
    spec = small_spec(tmp_path / "s", tmp_path / "out")
    for _ in range(2):
        with pytest.raises(BuildError):
            build(spec, use_ray=False, lineage=str(file))
    events = lines(file)
    assert [event["eventType"] for event in events] == ["START", "FAIL", "START", "FAIL"]
    runs = [event["run"]["runId"] for event in events]
    assert runs[0] == runs[1] != runs[2] == runs[3]
    assert [problem for event in events for problem in event_problems(event)] == []
    assert "nothing was written" in events[1]["run"]["facets"]["errorMessage"]["message"]
    assert events[1]["job"] == events[2]["job"]


def test_an_interrupted_build_is_aborted(spec: BuildSpec, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    with pytest.raises(KeyboardInterrupt), EventSender(str(file)) as sender, told_of(sender, spec, RUN):
        raise KeyboardInterrupt
    assert [event["eventType"] for event in lines(file)] == ["START", "ABORT"]


def test_secrets_are_in_no_event(tmp_path: Path) -> None:
    file, spec = tmp_path / "events.jsonl", small_spec(Path("unused"), tmp_path / "out")
    source = spec.source.model_copy(update={"path": "https://user:hunter2@host/c?token=hunter2"})
    spec = spec.model_copy(update={"source": source})
    with pytest.raises(ValueError, match="password"), EventSender(str(file)) as sender, told_of(sender, spec, RUN):
        raise ValueError("password=hunter2")
    assert "hunter2" not in file.read_text()
    assert len(lines(file)) == 2


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
        return port


@pytest.mark.integration
def test_a_dead_server_costs_one_warning_and_no_build(spec: BuildSpec, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "dentgen.pipeline.lineage"):
        build(spec, use_ray=False, lineage=f"http://127.0.0.1:{free_port()}")
    (record,) = [record for record in caplog.records if record.name == "dentgen.pipeline.lineage"]
    assert "OpenLineage" in record.getMessage()
    assert len(committed_units(spec.output.path)) == 3


def test_a_server_that_answers_with_an_error_costs_one_warning(
    spec: BuildSpec, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Server(500)) as server, caplog.at_level(logging.WARNING):
        with EventSender(server.url) as sender, told_of(sender, spec, RUN):
            pass
        with EventSender(server.url) as sender:
            lineage = BuildLineage(sender, spec, RUN)
            lineage.start()
            lineage.start()
    assert len(server.got) == 3, "later events are tried"
    assert len(caplog.records) == 2, "a sender warns once"


def test_a_silent_server_holds_nobody_up(spec: BuildSpec, caplog: pytest.LogCaptureFixture) -> None:
    """It accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent, caplog.at_level(logging.WARNING):
        began = time.monotonic()
        with EventSender(f"http://127.0.0.1:{silent.getsockname()[1]}", seconds=0.5) as sender:
            lineage = BuildLineage(sender, spec, RUN)
            for _ in range(20):
                lineage.start()
            assert time.monotonic() - began < 5, "sending waits for nothing"
        assert time.monotonic() - began < 10, "twenty times half a second would take ten"
    assert len(caplog.records) == 1


def test_a_file_that_cannot_be_written_fails_no_build(spec: BuildSpec, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with EventSender(str(tmp_path / "folder")) as sender, told_of(sender, spec, RUN):
        pass


def test_a_bucket_is_no_place_for_events() -> None:
    with pytest.raises(SpecError) as caught:
        EventSender("s3://bucket/events")
    assert (caught.value.key, caught.value.found) == ("--lineage", "s3://bucket/events")


def test_nobody_is_told_of_a_build_without_a_place(spec: BuildSpec) -> None:
    with told_of(None, spec, RUN) as lineage:
        lineage.start()


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("http://host:5000", "http://host:5000/api/v1/lineage"), ("http://host/", "http://host/api/v1/lineage"),
        ("https://host/own/path", "https://host/own/path"),
    ],
)  # fmt: skip
def test_a_server_without_a_path_gets_the_usual_one(given: str, address: str) -> None:
    assert address_of(given) == address


@pytest.mark.parametrize("parent", ["", "only-a-namespace", "ns/job/no-uuid", f"/job/{uuid.UUID(int=1)}"])
def test_a_parent_that_is_none_is_left_out(
    parent: str, spec: BuildSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENLINEAGE_PARENT_ID", parent)
    with EventSender(str(tmp_path / "events")) as sender:
        BuildLineage(sender, spec, RUN).start()
    (event,) = lines(tmp_path / "events")
    assert event["run"]["facets"] == {}
    assert event_problems(event) == []
