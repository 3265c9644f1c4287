"""The README: its length, its commands and their output, its examples in Python, its reading path."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.seeding import fresh_weights
from tests.cli.running import dentgen
from tests.conftest import ROOT
from tests.docs.commands import DOCS, blocks, readme_commands

README = ROOT / "README.md"

SHORTENED = {"--count 1000": "--count 2"}
#: What each command of the README prints, in its order.
PRINTS: dict[str, str | tuple[str, ...]] = {
    "phantom conditions/": "2 records in conditions/, 1 shards rendered now",
    "phantom varied/": "2 records in varied/, 1 shards rendered now",
    "sheet conditions/": "2 records in sheet.png",
    "plan jobs/specs/demo.yaml": "6 units, 80 samples",
    "generate jobs/specs/demo.yaml --limit": (
        "16 samples written, 0 rejected, of 16 planned\n", "\ndataset: out/demo-preview-4/\n",
    ),
    "generate jobs/specs/demo.yaml": (
        "80 samples written, 0 rejected, of 80 planned\nversion 0: 6 shards, ",
        "\ndataset: out/demo/\nlook at: out/demo/report.html\n",
    ),
    "status out/demo --watch": "80 of 80 samples, 6 of 6 units, 100%, state finished, rejected 0\n",
    "verify out/demo": "80 samples in 6 units: 0 problems",
    "repair out/demo": "0 problems, 0 units regenerated, 0 left",
    "diff out/demo-preview-4 out/demo": "in both: 16 samples by key",
    "export out/demo": "80 samples written, 0 rejected",
}  # fmt: skip


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) < 200


@pytest.mark.ray
@pytest.mark.slow
def test_the_commands_of_the_readme_print_what_they_should(tmp_path: Path) -> None:
    """Run one after the other; rendering a thousand jaws is cut to two."""
    (tmp_path / "jobs").symlink_to(ROOT / "jobs")
    commands = [command for command in readme_commands() if command.startswith("dentgen ")][: len(PRINTS)]
    for command, (begin, printed) in zip(commands, PRINTS.items(), strict=True):
        assert command.removeprefix("dentgen ").startswith(begin), "the README shows every command in this order"
        for long, short in SHORTENED.items():
            command = command.replace(long, short)  # noqa: PLW2901
        run = dentgen(*command.split()[1:], cwd=tmp_path)
        assert run.returncode == 0, (command, run.stderr)
        for text in (printed,) if isinstance(printed, str) else printed:
            assert text in run.stdout, (command, run.stdout)
        if begin.startswith("plan"):
            assert re.search(r"expected: \d+\.\d MB and 0:\d\d:\d\d with 1 actors, measured on 16 samples", run.stdout)
        if begin == "generate jobs/specs/demo.yaml":
            assert re.search(r"actor on .*: start-up \d+\.\d s, engine busy \d+% of the time", run.stderr)
    composite = b"digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
    assert composite in (tmp_path / "out" / "demo" / "contact_sheet.png").read_bytes()
    sheet = np.asarray(Image.open(tmp_path / "out" / "demo" / "contact_sheet.png"))
    assert sheet.std() > 30, "a sheet of one colour shows nothing"


def test_the_quick_start_shows_the_readmes_examples() -> None:
    """So that running the README's runs both."""
    assert sorted(blocks(DOCS / "quickstart.md", "python")) == sorted(blocks(README, "python"))


@pytest.mark.integration
def test_the_image_from_python_has_a_gap(in_examples: Path) -> None:
    (block,) = [block for block in blocks(README, "python") if "Pipeline" in block]
    names: dict[str, object] = {}
    exec(block, names)
    with Image.open(in_examples / "out" / "gap.png") as image:
        assert image.size == (256, 256)
    images = [np.asarray(image).astype(int) for image in names["output"].images]  # type: ignore[attr-defined]
    assert len(images) == 4
    assert all(np.abs(images[0] - other).mean() > 1 for other in images[1:]), "every variant has its own noise"
    assert (np.asarray(names["fdi"]) == 21).any()
    assert not np.asarray(names["seg"])[np.asarray(names["fdi"]) == 21].any()


@pytest.mark.integration
def test_the_segmenter_learns(in_examples: Path) -> None:
    (block,) = [block for block in blocks(README, "python") if "DataLoader" in block]
    text = io.StringIO()
    with fresh_weights("readme"), contextlib.redirect_stdout(text):
        exec(block, {})
    losses = [float(number) for number in re.findall(r"loss ([\d.]+)", text.getvalue())]
    assert len(losses) > 2
    assert losses[-1] < 0.8 * losses[0], losses


def test_the_reading_path_begins_with_the_unit() -> None:
    path = re.findall(r"^\d\. `([\w/.]+)`", README.read_text(), re.MULTILINE)
    assert path[0] == "dentgen/generation/unit.py"
    assert len(path) == 6
    assert all((ROOT / name).is_file() for name in path)
