"""YOLO's lines are outlines or boxes, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from dentgen.ingest.photos.annotations import AnnotatedPhoto, Files, Refusal
from dentgen.ingest.photos.readers.yolo import read_yolo


def read(folder: Path, text: str, data: str = "names: [a, b]\n") -> list[AnnotatedPhoto | Refusal]:
    for name in ("images/train", "labels/train"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(folder / "images" / "train" / "x.jpg")
    (folder / "labels" / "train" / "x.txt").write_text(text)
    (folder / "data.yaml").write_text(data)
    return list(read_yolo(str(folder), Files.under(str(folder))))


def test_outlines_have_names_and_boxes_are_counted(tmp_path: Path) -> None:
    (photo,) = read(tmp_path, "1 0 0 1 0 1 1\n0 .5 .5 .1 .1\n0 0 0 1 0 0 1\n")
    assert isinstance(photo, AnnotatedPhoto)
    assert [thing.label for thing in photo.things] == ["b", "a"]
    assert photo.things[0].rings == ([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)],)
    assert (photo.skipped, photo.split, photo.shares) == ({"box": 1}, "train", True)


@pytest.mark.parametrize(
    "line", ["x 0 0 1 0 1 1", "0 0 0 1 0 1", "0 0 0 nan 0 1 1", "0 0 0 50 0 1 1", "-1 0 0 1 0 1 1", "7 0 0 1 0 1 1"]
)
def test_wrong_lines_are_named_with_their_number(line: str, tmp_path: Path) -> None:
    (found,) = read(tmp_path, f"0 0 0 1 0 1 1\n{line}\n")
    assert isinstance(found, Refusal)
    assert "x.txt:2" in found.reason


def test_names_may_be_numbered_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    (photo,) = read(tmp_path, "3 0 0 1 0 1 1\n", "names: {3: molar}\n")
    assert isinstance(photo, AnnotatedPhoto)
    assert photo.things[0].label == "molar"
    (found,) = read(tmp_path, "3 0 0 1 0 1 1\n", "names: {3: [x]}\n")
    assert isinstance(found, Refusal)
    assert found.name == "data.yaml"
