"""Names that all layouts share."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from dentgen.export.layout import Loss, flat_name, splits_of, with_extension
from dentgen.export.source import ExportSample
from dentgen.records import PILLOW_FORMAT, ImageFormat
from dentgen.shards.tar import image_bytes

_BLANK = np.zeros((8, 8), np.uint8)


def sample(extension: ImageFormat) -> ExportSample:
    picture = image_bytes(np.full((8, 8, 3), 90, np.uint8), extension, "")
    return ExportSample("jaw", "jaw", "train", "", picture, extension, _BLANK, _BLANK, None)


def test_a_key_with_folders_becomes_one_name() -> None:
    assert flat_name("clinic/jaw-1") == "clinic__jaw-1"
    assert flat_name("jaw") == "jaw"


def test_train_is_the_first_split() -> None:
    entries = [{"split": name} for name in ("test", "train", "validation", "test")]
    assert splits_of(lambda: iter(entries)) == ["train", "test", "validation"]


def test_losses_are_plain_values() -> None:
    expected = {"holes": 1, "split": 2, "ignored": 3, "unnumbered": 4, "ious": [0.1235]}
    assert Loss(1, 2, 3, 4, [0.123456]).values == expected


@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_pictures_get_the_extension_of_a_layout(extension: ImageFormat) -> None:
    for given in PILLOW_FORMAT:
        changed = with_extension(sample(given), extension)
        picture = Image.open(io.BytesIO(changed.picture))
        assert (changed.extension, picture.format) == (extension, PILLOW_FORMAT[extension])
        assert np.abs(np.asarray(picture).astype(int) - 90).max() <= 2


def test_pictures_that_fit_keep_their_bytes() -> None:
    given = sample("png")
    assert with_extension(given, None) is given
    assert with_extension(given, "png") is given
