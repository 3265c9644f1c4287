"""``dentgen select``: the file that it writes is what readers and exports take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dentgen.cli.app import app
from dentgen.errors import BuildError, SpecError
from dentgen.shards.dataset import open_dataset
from dentgen.shards.selection_file import read_selection
from tests.curation.planted_builds import small_judges
from tests.report.fake_builds import fake_build, written


@pytest.fixture
def out(tmp_path: Path) -> str:
    fake_build(tmp_path / "out", [written(n) for n in range(4)])
    return str(tmp_path / "out")


def test_what_is_chosen_is_read_and_exported(out: str, tmp_path: Path) -> None:
    file, judges = str(tmp_path / "chosen.parquet"), small_judges(tmp_path / "judges")
    options = ["--count", "3", "--balance", "view", "--judges", judges, "--without-duplicates", "--to", file]
    run = CliRunner().invoke(app, ["select", out, *options])
    assert run.exit_code == 0, run.output
    selection = read_selection(file)
    assert f"3 samples of {len(selection.by_shard)} shards: {file}" in run.stdout
    assert (selection.how["by"], selection.how["balance"]) == ("coverage", "view")
    assert {sample["key"] for sample in open_dataset(out, selection=file)} == set(selection.keys)
    run = CliRunner().invoke(
        app, ["export", out, "coco", str(tmp_path / "coco"), "--selection", file, "--workers", "1"]
    )
    assert run.exit_code == 0, run.output
    assert "3 samples written" in run.stdout
    names = {
        image["file_name"].split("/")[-1]
        for annotations in (tmp_path / "coco" / "annotations").iterdir()
        for image in json.loads(annotations.read_text())["images"]
    }
    assert names == {f"{key}.png" for key in selection.keys}


def test_the_seed_names_a_random_selection(out: str, tmp_path: Path) -> None:
    found = []
    for seed in ("1", "1", "2"):
        file = str(tmp_path / "chosen.parquet")
        run = CliRunner().invoke(app, ["select", out, "--count", "5", "--by", "random", "--seed", seed, "--to", file])
        assert run.exit_code == 0, run.output
        found.append(read_selection(file).keys)
    assert found[0] == found[1] != found[2]


def test_a_file_in_the_build_is_refused(out: str) -> None:
    run = CliRunner().invoke(app, ["select", out, "--count", "1", "--by", "random", "--to", f"{out}/samples.parquet"])
    assert isinstance(run.exception, SpecError)
    assert run.exception.key == "--to"


def test_too_many_samples_and_unfinished_builds_are_errors(out: str, tmp_path: Path) -> None:
    file = str(tmp_path / "chosen.parquet")
    run = CliRunner().invoke(app, ["select", out, "--count", "9", "--by", "random", "--to", file])
    assert isinstance(run.exception, SpecError)
    assert (run.exception.key, run.exception.found) == ("count", 9)
    run = CliRunner().invoke(app, ["select", str(tmp_path / "none"), "--count", "1", "--to", file])
    assert isinstance(run.exception, BuildError)
    assert not Path(file).exists()
