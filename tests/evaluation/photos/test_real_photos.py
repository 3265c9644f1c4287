"""Areas become masks, instances and lesions; damage is named by file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.conditions.labels import IGNORE
from dentgen.errors import ConditionError, StorageError
from dentgen.evaluation.photos.real_photos import read_photos
from tests.evaluation.photos.photographs import DECAY, TEETH, polygon, write_photo


def test_polygons_are_filled_and_padding_is_ignored(tmp_path: Path) -> None:
    write_photo(tmp_path, "a")
    found = read_photos(str(tmp_path), 80)
    assert found.keys == ("a.png",)
    assert found.images.shape == (1, 80, 80, 3)
    tooth, instances, lesion = found.tooth[0], found.instances[0], found.lesion[0]
    assert (tooth[:10] == IGNORE).all()
    assert (tooth[70:] == IGNORE).all()
    assert (lesion[:10] == IGNORE).all()
    inner = slice(10, 70)
    assert (tooth[inner] == 1).sum() == 20 * 30 + 20 * 30 + 15 * 20
    assert (lesion[inner] == 1).sum() == 36
    assert [int((instances == number).sum()) for number in (1, 2, 3)] == [600, 600, 300]
    assert found.images[0, 10 + 12, 12].min() > 200, "the picture is padded as its labels are"


def test_holes_stay_open_and_lines_fill_nothing(tmp_path: Path) -> None:
    hole = [[12.0, 12.0], [16.0, 12.0], [16.0, 16.0], [12.0, 16.0]]
    write_photo(tmp_path, "a", [polygon("Tooth", TEETH[0], [hole]), polygon("Crack", [[1, 1], [5, 5]])])
    found = read_photos(str(tmp_path), 80)
    assert (found.tooth[0] == 1).sum() == 600 - 25
    assert (found.lesion[0] == 1).sum() == 0


def test_order_is_that_of_names(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        write_photo(tmp_path, f"p{number}", seed=number)
    assert read_photos(str(tmp_path), 64).keys == ("p0.png", "p1.png", "p2.png")


@pytest.mark.parametrize(
    "objects",
    [
        "x",
        [{"classTitle": "Tooth", "geometryType": "bitmap", "points": {"exterior": []}}],
        [polygon("Tooth", [[0, 0], [float("nan"), 1], [2, 2]])],
        [polygon("Tooth", DECAY)] * 201,
        [polygon("Tooth", [[-3e9, 0], [3e9, 0], [0, 9]])],
    ],
)
def test_wrong_annotations_are_named(objects: object, tmp_path: Path) -> None:
    write_photo(tmp_path, "a")
    (tmp_path / "ann" / "a.png.json").write_text(json.dumps({"objects": objects}))
    with pytest.raises(ConditionError) as caught:
        read_photos(str(tmp_path), 64)
    assert caught.value.file in {str(tmp_path / "ann" / "a.png.json"), str(tmp_path / "img" / "a.png")}


def test_missing_and_damaged_images_are_named(tmp_path: Path) -> None:
    write_photo(tmp_path, "a")
    (tmp_path / "img" / "a.png").write_bytes(b"no image")
    with pytest.raises(ConditionError) as caught:
        read_photos(str(tmp_path), 64)
    assert caught.value.file == str(tmp_path / "img" / "a.png")
    (tmp_path / "img" / "a.png").unlink()
    with pytest.raises(ConditionError) as missing:
        read_photos(str(tmp_path), 64)
    assert missing.value.found == "no image of that name"


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        read_photos(str(tmp_path), 64)
    assert caught.value.file == str(tmp_path)


def test_teeth_under_another_name_are_no_lesions(tmp_path: Path) -> None:
    write_photo(tmp_path, "a", [polygon("tooth", TEETH[0])])
    with pytest.raises(ConditionError) as caught:
        read_photos(str(tmp_path), 64)
    assert (caught.value.file, caught.value.found) == (str(tmp_path), "no area named 'Tooth'")


def test_a_line_of_pixels_is_not_padded_to_a_huge_square(tmp_path: Path) -> None:
    write_photo(tmp_path, "a")
    Image.new("RGB", (20_000, 1)).save(tmp_path / "img" / "a.png")
    with pytest.raises(ConditionError) as caught:
        read_photos(str(tmp_path), 64)
    assert caught.value.found == "20000 x 1 pixels"


def test_labels_are_never_blended(tmp_path: Path) -> None:
    write_photo(tmp_path, "a")
    for size in (32, 96, 160):
        found = read_photos(str(tmp_path), size)
        assert set(np.unique(found.tooth).tolist()) == {0, 1, IGNORE}
        assert set(np.unique(found.instances).tolist()) == {0, 1, 2, 3}
