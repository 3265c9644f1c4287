"""The README's promises: commands that run, specs that validate, files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from dentgen.spec.yaml_file import read_spec
from tests.cli.test_app import dentgen
from tests.conftest import ROOT
from tests.docs.commands import blocks, readme_commands

README = ROOT / "README.md"

SHORTENED = {"--count 1000": "--count 2", "--count 100": "--count 2"}
SAID = {
    "phantom": "2 records in conditions/, 1 shards rendered now",
    "phantom --look": "2 records in scans/, 1 shards rendered now",
    "sheet": "2 records in sheet.png",
    "relight": "2 records relit, 3 lightings each, from 1 shards, to relit/: 0 problems",
    "plan": "6 units, 80 samples",
    "generate --limit": "16 samples written, 0 rejected, of 16 planned\ndataset: out/demo-preview-4/",
    "generate": "80 samples written, 0 rejected, of 80 planned\ndataset: out/demo/\nlook at: out/demo/report.html",
    "status": "6 of 6 units done",
    "verify": "80 samples in 6 units: 0 problems",
    "repair": "0 problems, 0 units regenerated, 0 left",
    "gc": "0 files, 0 bytes",
    "report": "out/demo/report.html",
    "models inspect": "miniature",
    "models verify": "0 problems",
}


@pytest.mark.ray
@pytest.mark.slow
def test_the_commands_of_the_readme_say_what_it_promises(tmp_path: Path) -> None:
    """Run one after the other, as they stand there; rendering a thousand jaws is cut to two."""
    (tmp_path / "jobs").symlink_to(ROOT / "jobs")
    commands = [command for command in readme_commands() if command.startswith("dentgen ")][: len(SAID)]
    for command in commands:
        for long, short in SHORTENED.items():
            command = command.replace(long, short)  # noqa: PLW2901
        run = dentgen(*command.split()[1:], cwd=tmp_path)
        assert run.returncode == 0, (command, run.stderr)
        name = command.split()[1] + "".join(f" {option}" for option in ("--limit", "--look") if option in command)
        name += f" {command.split()[2]}" if name == "models" else ""
        assert SAID.pop(name) in run.stdout, (command, run.stdout)
        if name == "plan":
            assert re.search(r"expected: \d+\.\d MB and 0:\d\d:\d\d with 1 actors, measured on 16 samples", run.stdout)
        if name == "generate":
            assert re.search(r"actor on .*: start-up \d+\.\d s, engine busy \d+% of the time", run.stderr)
    assert not SAID, "the README shows every command"
    composite = b"digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
    assert composite in (tmp_path / "out" / "demo" / "contact_sheet.png").read_bytes()
    sheet = np.asarray(Image.open(tmp_path / "out" / "demo" / "contact_sheet.png"))
    assert sheet.std() > 30, "a sheet of one colour shows nothing"


def test_commands_of_the_readme_are_commands() -> None:
    """Long ones are run by tests of their own; every one must at least parse."""
    known = dentgen("--help").stdout
    for command in readme_commands():
        words = command.split()
        if words[0] == "dentgen":
            assert f" {words[1]} " in known, command
        elif words[0] == "python":
            assert (ROOT / words[1]).exists(), command


def test_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wanted = {command.split()[1] for command in readme_commands() if command.startswith("make ")}
    assert {"demo", "test"} <= wanted <= targets


def test_files_that_the_readme_names_exist() -> None:
    for name in re.findall(r"`((?:dentgen|jobs|schemas|tests|cluster|docs)/[\w./-]+)`", README.read_text()):
        assert (ROOT / name).exists(), name


def test_example_specs_of_the_readme_are_valid(tmp_path: Path) -> None:
    for number, block in enumerate(blocks(README, "yaml")):
        assert yaml.safe_load(block)
        (tmp_path / f"{number}.yaml").write_text(block)
        read_spec(tmp_path / f"{number}.yaml")
