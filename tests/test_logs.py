"""Logs as JSON: fields, secrets, what is printed, and a process left as it was."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dentgen.logs import JsonFormatter, JsonLines, json_output, log_context, log_format, start_logging
from tests.conftest import ROOT

_LOG = logging.getLogger("dentgen.planted")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What ``_LOG`` writes as JSON."""
    handler = logging.StreamHandler(written := io.StringIO())
    handler.setFormatter(JsonFormatter())
    _LOG.addHandler(handler)
    _LOG.setLevel(logging.INFO)
    yield written
    _LOG.removeHandler(handler)
    _LOG.setLevel(logging.NOTSET)


def objects(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_an_object_with_time_level_logger_and_message(stream: io.StringIO) -> None:
    _LOG.warning("unit %s has %d", "000003", 4)
    (record,) = objects(stream)
    assert {name: record[name] for name in ("level", "logger", "message")} == {
        "level": "WARNING", "logger": "dentgen.planted", "message": "unit 000003 has 4",
    }  # fmt: skip
    time = datetime.fromisoformat(record["time"])
    assert time.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)
    assert set(record) == {"time", "level", "logger", "message"}


def test_fields_come_from_the_context_of_a_thread_and_from_the_call(stream: io.StringIO) -> None:
    with log_context(build="out", unit="000001"):
        with log_context(unit="000002", attempt=2):
            _LOG.info("inner", extra={"key": "k"})
            other = threading.Thread(target=lambda: _LOG.info("elsewhere"))
            other.start()
            other.join()
        _LOG.info("outer")
    _LOG.info("after")
    fields = [{name: r[name] for name in ("build", "unit", "attempt", "key") if name in r} for r in objects(stream)]
    assert fields == [
        {"build": "out", "unit": "000002", "attempt": 2, "key": "k"}, {}, {"build": "out", "unit": "000001"}, {},
    ]  # fmt: skip


def test_secrets_and_line_breaks_are_in_no_line(stream: io.StringIO) -> None:
    with log_context(build="s3://user:hunter2@host/out"):
        try:
            int("password=hunter2\nand more")
        except ValueError:
            _LOG.exception("cannot read %s", 'https://host/x?sig=hunter2\n{"level": "forged"}')
    assert stream.getvalue().count("\n") == 1
    assert "hunter2" not in stream.getvalue()
    (record,) = objects(stream)
    assert record["level"] == "ERROR"
    assert "ValueError" in record["traceback"]
    assert record["build"] == "s3://host/out"


def test_what_is_printed_becomes_records_and_objects_of_actors_pass(stream: io.StringIO) -> None:
    direct = io.StringIO()
    lines = JsonLines(direct)
    lines._log = _LOG
    actor = '{"time": "t", "level": "INFO", "logger": "dentgen.x", "message": "m", "unit": "000007"}'
    print("generate: de", end="", file=lines)
    print("mo\r\nerror: planted", file=lines)
    print(f"\x1b[36m(MapWorker(MapBatches(UnitMaker)) pid=17, ip=10.0.0.1)\x1b[0m {actor}", file=lines)
    print('(pid=17) {"no": "record"}', file=lines)
    print(actor, file=lines)
    print("\n\x1b[0m\n", file=lines)
    print("a rest", end="", file=lines)
    assert not lines.isatty()
    lines.close()
    assert [(record["level"], record["message"]) for record in objects(stream)] == [
        ("INFO", "generate: demo"), ("ERROR", "error: planted"), ("INFO", '(pid=17) {"no": "record"}'),
        ("INFO", actor), ("INFO", "a rest"),
    ]  # fmt: skip
    assert direct.getvalue() == f"{actor}\n"


def test_standard_error_is_json_within_the_block_and_as_before_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = sys.stderr, root.handlers[:]
    with json_output():
        assert log_format() == "json"
        sys.stderr.write("planted\n")
        logging.getLogger("elsewhere").warning("too")
    assert (sys.stderr, root.handlers) == before
    assert log_format() == "text"
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(record["logger"], record["message"]) for record in told] == [
        ("dentgen.console", "planted"), ("elsewhere", "too"),
    ]  # fmt: skip


def test_starting_twice_logs_once(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:]
    try:
        for _ in range(2):
            start_logging("json", sys.stderr)
        root.warning("planted")
    finally:
        root.handlers[:] = before
    assert capsys.readouterr().err.count("planted") == 1


def test_importing_the_package_sets_up_no_logging() -> None:
    code = (
        "import logging, dentgen, dentgen.logs, dentgen.pipeline.tally, dentgen.shards.standing;"
        "assert logging.getLogger().handlers == [] and logging.getLogger('dentgen').level == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
