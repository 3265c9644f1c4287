"""``dentgen watermark``: exit codes, lines and figures; with ``dentgen export --watermark`` from end to end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from dentgen.cli.app import app
from dentgen.errors import SpecError
from tests.export.hard_sets import write_hard_set
from tests.export.marked_builds import OTHER_KEY, key_file, large_build, scene


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """Pictures of an export with the key of ``key_file(tmp_path)``."""
    key = key_file(tmp_path)
    done = run("export", large_build(tmp_path / "build"), "csv", tmp_path / "out", "--watermark", key, "--workers", "1")
    assert done.exit_code == 0, done.output
    assert "4 samples written, 0 rejected" in done.stdout
    return tmp_path / "out" / "images"


def test_marked_pictures_exit_0_in_order(copies: Path, tmp_path: Path) -> None:
    found = run("watermark", tmp_path / "watermark.key", copies)
    assert found.exit_code == 0, found.output
    lines = found.stdout.splitlines()
    files = sorted(path for path in copies.rglob("*.png"))
    assert [line.rpartition(": z ")[0] for line in lines[:-1]] == list(map(str, files))
    assert all(line.endswith(", marked") for line in lines[:-1])
    assert "4 of 4" in lines[-1]


@pytest.mark.integration
def test_another_key_exits_1(copies: Path, tmp_path: Path) -> None:
    found = run("watermark", key_file(tmp_path, OTHER_KEY, "other.key"), copies)
    assert found.exit_code == 1
    assert found.stdout.count(", not marked") == 4


def test_what_cannot_be_read_is_named_and_the_others_go_on(copies: Path, tmp_path: Path) -> None:
    one = next(copies.rglob("*.png"))
    torn, small, missing = copies / "torn.PNG", copies / "small.png", tmp_path / "missing.png"
    torn.write_bytes(one.read_bytes()[:2000])
    Image.fromarray(scene(0, 40, 200)).save(small)
    figures = tmp_path / "new" / "figures.json"
    found = run("watermark", tmp_path / "watermark.key", missing, torn, small, one, "--json", figures)
    assert found.exit_code == 1
    for file in (torn, small, missing):
        assert str(file) in found.stderr
    assert f"{one}: z " in found.stdout
    document = json.loads(figures.read_text())
    assert document["threshold"] == 6
    assert [each["file"] for each in document["pictures"]] == [str(file) for file in (missing, torn, small, one)]
    assert [each["marked"] for each in document["pictures"]] == [False, False, False, True]
    assert [each["z"] is None for each in document["pictures"]] == [True, True, True, False]


def test_a_decompression_bomb_is_named(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    Image.fromarray(np.zeros((8_000, 10_001), np.uint8)).convert("1").save(bomb)
    found = run("watermark", key_file(tmp_path), bomb)
    assert found.exit_code == 1
    assert str(bomb) in found.stderr


def test_folders_are_searched_for_pictures_alone(copies: Path, tmp_path: Path) -> None:
    deep = tmp_path / "all" / "deep" / "er"
    deep.mkdir(parents=True)
    one = next(copies.rglob("*.png"))
    shutil.copy(one, deep / "b.png")
    Image.open(one).save(tmp_path / "all" / "c.WEBP", lossless=True)
    Image.open(one).save(tmp_path / "all" / "a.jpeg", quality=90)
    (tmp_path / "all" / "notes.txt").write_text("none")
    found = run("watermark", tmp_path / "watermark.key", tmp_path / "all")
    assert found.exit_code == 0, found.output
    assert [Path(line.split(": z ")[0]).name for line in found.stdout.splitlines()[:-1]] == [
        "a.jpeg",
        "c.WEBP",
        "b.png",
    ]


def test_wrong_use_is_refused_with_fields(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, file, found in (
        (("watermark", key_file(tmp_path), tmp_path / "empty"), tmp_path / "empty", "no pictures"),
        (("watermark", key_file(tmp_path, b"x", "x.key"), tmp_path), tmp_path / "x.key", "1 bytes"),
    ):
        error = run(*arguments).exception
        assert isinstance(error, SpecError)
        assert (error.file, error.found) == (str(file), found)


def test_the_option_reaches_the_export(tmp_path: Path) -> None:
    write_hard_set(tmp_path / "set")
    error = run("export", tmp_path / "set", "coco", tmp_path / "out", "--watermark", key_file(tmp_path)).exception
    assert isinstance(error, SpecError)
    assert (error.key, error.found) == ("--watermark", "condition records")
