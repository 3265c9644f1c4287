"""``dentgen diff``: a summary in the terminal and a page."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from dentgen.cli.app import app
from dentgen.errors import SpecError
from tests.report.fake_builds import fake_build, written


def test_differences_are_named(tmp_path: Path) -> None:
    fake_build(tmp_path / "a", [written(0), written(1)])
    fake_build(tmp_path / "b", [written(1)], sampling={"steps": 9})
    page = tmp_path / "pages" / "diff.html"
    run = CliRunner().invoke(app, ["diff", str(tmp_path / "a"), str(tmp_path / "b"), "--html", str(page)])
    assert run.exit_code == 0, run.output
    lines = run.stdout.splitlines()
    assert lines[0] == "a: 4 samples in 2 shards, 0 rejected"
    assert "in both: 2 samples by key, 0 shards with the same bytes" in lines
    assert "setting sampling.steps: 4 -> 9" in lines
    assert "View: 50 % apart" in lines
    assert page.read_text().startswith("<!doctype html>")


def test_labels_are_named_however_many_attributes_differ(tmp_path: Path) -> None:
    names = ["view", "shade", "gum", "lighting", "arch", "look", "dentition"]
    for folder, word, teeth in (("a", "one", (11, 21)), ("b", "two", (31, 41))):
        fake_build(tmp_path / folder, [written(0, attributes=dict.fromkeys(names, word), teeth=teeth)])
    run = CliRunner().invoke(app, ["diff", str(tmp_path / "a"), str(tmp_path / "b")])
    assert run.exit_code == 0, run.output
    assert "Teeth: 100 % apart" in run.stdout
    assert "and 2 more, see --html" in run.stdout


def test_versions_of_one_build_are_compared_by_their_numbers(tmp_path: Path) -> None:
    fake_build(tmp_path, [written(0), written(1)])
    run = CliRunner().invoke(app, ["diff", str(tmp_path), "0", "0"])
    assert run.exit_code == 0, run.output
    assert "added: 0 samples in 0 shards" in run.stdout
    for arguments in (["0", "x"], ["0", "0", "--html", "page.html"]):
        assert isinstance(CliRunner().invoke(app, ["diff", str(tmp_path), *arguments]).exception, SpecError)
