"""The format of a set is told by its files, and never guessed between two."""

from __future__ import annotations

from pathlib import Path

import pytest

from dentgen.errors import ConditionError
from dentgen.ingest.photos.annotations import Files
from dentgen.ingest.photos.formats import told_format
from tests.ingest.photos.annotated_sets import WRITERS, write_coco, write_yolo


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_is_told(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path)
    assert told_format(str(tmp_path), Files.under(str(tmp_path))) == name


def test_two_formats_in_one_folder_need_a_choice(tmp_path: Path) -> None:
    write_coco(tmp_path)
    (tmp_path / "images").rename(tmp_path / "pictures")
    write_yolo(tmp_path)
    with pytest.raises(ConditionError) as caught:
        told_format(str(tmp_path), Files.under(str(tmp_path)))
    assert caught.value.found == "files of coco and yolo"
