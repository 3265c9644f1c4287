"""The command line as a whole: help, exit codes, and logs as JSON."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from dentgen.cli import app as app_module
from dentgen.cli.app import app
from dentgen.cli.interruption import Interruption
from tests.cli.running import Finished
from tests.conftest import small_spec, write_tar


def command_paths() -> Iterator[tuple[str, ...]]:
    """Words of every command, those of groups included."""
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]  # a group
        inner = getattr(command, "commands", {})
        yield from ((name, last) for last in inner) if inner else iter([(name,)])


def test_version_and_groups(here: Callable[..., Finished]) -> None:
    assert here("--version").stdout.split() == ["dentgen", version("dentgen")]
    text = here("--help").stdout
    places = [text.index(word) for word in (" Conditions ", " Datasets ", " Models ", " Measurements ")]
    assert places == sorted(places)
    for command, place in {"phantom": 0, "generate": 1, "train": 2, "benchmark": 3}.items():
        assert max(n for n, at in enumerate(places) if at < text.index(f" {command} ")) == place


@pytest.mark.parametrize("command", list(command_paths()))
def test_every_command_explains_itself_with_an_example(command: tuple[str, ...], here: Callable[..., Finished]) -> None:
    shown = here(*command, "--help")
    assert shown.returncode == 0
    assert f"dentgen {' '.join(command)}" in " ".join(shown.stdout.split()), "usage"
    if command != ("schemas",):  # hidden: for developers
        assert "Example" in shown.stdout


def test_wrong_use_is_exit_code_2(tmp_path: Path, here: Callable[..., Finished]) -> None:
    (tmp_path / "bad.yaml").write_text("sampling: {stpes: 4}")
    run = here("generate", str(tmp_path / "bad.yaml"))
    assert run.returncode == 2
    assert "sampling.stpes" in run.stderr
    assert "Traceback" not in run.stderr
    assert here("no-such-command").returncode == 2
    (tmp_path / "empty.yaml").write_text("{}")
    for command in ("generate", "plan"):
        empty = here(command, str(tmp_path / "empty.yaml"))
        assert empty.returncode == 2
        assert "source.path and output.path: found nothing" in empty.stderr
    assert here("generate", str(tmp_path / "not-there.yaml")).returncode == 2


def records_of(stderr: str) -> list[dict[str, object]]:
    """Lines of standard error, each of which must be a JSON object."""
    return [json.loads(line) for line in stderr.splitlines()]


@pytest.mark.integration
@pytest.mark.parametrize("how", ["option", "environment"])
def test_with_json_logs_every_line_of_standard_error_is_an_object(
    how: str,
    tmp_path: Path,
    demo_members: dict[str, dict[str, bytes]],
    here: Callable[..., Finished],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Announcements, progress, log records, reasons and the error at the end."""
    keys = sorted(demo_members)[:2]
    records = {key: dict(demo_members[key]) for key in keys}
    records[keys[0]]["seg.png"] = b"torn"
    write_tar(tmp_path / "s" / "x.tar", records)
    spec, before = tmp_path / "spec.yaml", (sys.stderr, logging.getLogger().handlers[:])
    spec.write_text(yaml.safe_dump(small_spec(tmp_path / "s", tmp_path / "out").model_dump(mode="json")))
    option = ("--log-format", "json") if how == "option" else ()
    if how == "environment":
        monkeypatch.setenv("DENTGEN_LOG_FORMAT", "json")
    run = here(*option, "generate", str(spec), "--no-ray")
    assert run.returncode == 1
    told = records_of(run.stderr)
    assert all({"time", "level", "logger", "message"} <= record.keys() for record in told)
    assert str(told[0]["message"]).startswith("generate: ")
    (planned,) = [record for record in told if "units planned" in str(record["message"])]
    assert (planned["logger"], planned["build"]) == ("dentgen.pipeline.run", str(tmp_path / "out"))
    (error,) = [record for record in told if record["level"] == "ERROR"]
    assert "quality.max_rejected" in str(error["message"])
    assert (sys.stderr, logging.getLogger().handlers) == before, "the process is as it was"
    assert here("status", str(tmp_path / "nothing")).stderr.startswith("error: ") is (how == "option")


def test_an_unknown_log_format_is_wrong_use(here: Callable[..., Finished]) -> None:
    assert here("--log-format", "xml", "status", "out").returncode == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_the_command_line_is_ready_ends_without_a_traceback(
    number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interruption = Interruption(seconds=3600)

    def being_built(**_: object) -> None:
        interruption.handle(number, None)

    monkeypatch.setattr(app_module, "app", being_built)
    with ExitStack() as output:
        assert app_module._run(interruption, output) == code
    assert "Traceback" not in capsys.readouterr().err
