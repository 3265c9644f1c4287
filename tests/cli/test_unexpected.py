"""Errors that end a command: one line, an exit code, and a traceback where it can be found."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from dentgen.cli.unexpected import DEBUG, report_error
from dentgen.errors import BuildError, SpecError


def raised(error: Exception) -> Exception:
    """The error with a traceback."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(DEBUG, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.parametrize(("error", "code"), [(SpecError(key="k", found=1), 2), (BuildError("failed"), 1)])
def test_errors_on_purpose_are_one_line(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert report_error(raised(error)) == code
    assert capsys.readouterr().err == f"error: {error}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "start"),
    [
        (KeyError("one\ntwo"), "unexpected error: KeyError: "),
        (RuntimeError("x" * 10_000 + "\n" * 99), "unexpected error: RuntimeError: xxx"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/full"),
            "error: [Errno 28] No space left on device: '/full'",
        ),
        (MemoryError(), "error: out of memory"),
    ],
)
def test_all_others_are_one_line_that_names_the_traceback(
    error: Exception, start: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert report_error(raised(error)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(start)
    assert len(line) < 1000
    (file,) = tmp_path.iterdir()
    assert line.endswith(f"; traceback in {file}")
    text = file.read_text()
    assert "Traceback" in text
    assert re.search(r"raise error", text)


def test_debugging_prints_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(DEBUG, "1")
    assert report_error(raised(KeyError("x"))) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "unexpected error: KeyError: 'x'"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_hides_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    assert report_error(raised(KeyError("x"))) == 1
    assert capsys.readouterr().err == f"unexpected error: KeyError: 'x'; set {DEBUG}=1 to see where\n"
