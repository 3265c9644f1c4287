"""Names of files, splits and pictures of a set."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.ingest.photos.annotations import Files, split_named_by, stem_of


def test_splits_are_named_by_folders() -> None:
    assert split_named_by("a/valid/img/x.png") == "validation"
    assert split_named_by("Train/x.png") == "train"
    assert split_named_by("train.png") == ""


def test_a_picture_is_found_by_its_whole_name_or_a_unique_last_one(tmp_path: Path) -> None:
    for name in ("a/x.png", "b/x.png", "b/y.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    files = Files.under(str(tmp_path))
    assert str(files.picture("a/x.png")).endswith("a/x.png")
    assert str(files.picture("y.png")).endswith("b/y.png")
    assert files.picture("elsewhere/y.png") is None, "another patient's"
    assert files.picture("x.png") is None, "two of that name"
    assert files.picture("../../etc/passwd") is None


@pytest.mark.parametrize(("name", "stem"), [("a.b/c.png", "a.b/c"), ("c", "c"), ("a/.hidden", "a/")])
def test_stems(name: str, stem: str) -> None:
    assert stem_of(name) == stem
