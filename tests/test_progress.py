"""Progress in a log: whole lines with count, rate and remaining time, not too many."""

from __future__ import annotations

import re

import pytest

from dentgen.progress import ConsoleProgress, tracked


def test_a_log_gets_the_first_and_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleProgress("verifying", "unit") as progress:
        for done in range(1, 6):
            progress(done, 5)
    lines = capsys.readouterr().err.splitlines()
    assert [re.findall(r"(\d+)/5", line) for line in lines] == [["1"], ["5"]]
    assert all(line.startswith("verifying: ") and "unit" in line for line in lines)


def test_a_log_gets_a_line_per_interval(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(float(second) for second in range(1, 100, 4))
    monkeypatch.setattr("dentgen.progress.time.monotonic", lambda: next(now))
    with ConsoleProgress("generating", "sample") as progress:
        for done in range(1, 10):
            progress(done, 100)
    counts = [int(found) for found in re.findall(r"(\d+)/100", capsys.readouterr().err)]
    assert counts == [1, 4, 7], "every 12 of the simulated seconds, the first multiple of 4 past 10"


def test_items_are_tracked_as_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    items = tracked(iter("abc"), "exporting", "shard", 3)
    assert next(items) == "a"
    assert capsys.readouterr().err == "", "the first is not done yet"
    assert list(items) == ["b", "c"]
    assert [re.findall(r"(\d+)/3", line) for line in capsys.readouterr().err.splitlines()] == [["1"], ["3"]]


def test_a_number_that_nobody_knows_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(tracked(iter("ab"), "reading", "picture")) == ["a", "b"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("reading: 1picture")
    assert list(tracked(["x"], "reading", "picture")) == ["x"]
    assert "1/1" in capsys.readouterr().err, "a list says how long it is"
