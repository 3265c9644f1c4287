"""Mask images give an area for every value or colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.ingest.photos.annotations import AnnotatedPhoto, Files, Refusal
from dentgen.ingest.photos.readers.masks import is_colour, read_masks

VALUES = np.repeat(np.array([0, 1, 3], np.uint8), 4)[None].repeat(6, 0)
COLOURS = np.array([[0, 0, 0], [255, 128, 0], [0, 0, 0], [1, 2, 3]], np.uint8)


def read(folder: Path, mask: Image.Image, folders: tuple[str, str]) -> AnnotatedPhoto | Refusal:
    for name in folders:
        (folder / name).mkdir()
    mask.save(folder / folders[0] / "x.png")
    Image.new("RGB", (12, 6)).save(folder / folders[1] / "x.jpg")
    (found,) = read_masks(str(folder), Files.under(str(folder)))
    return found


def palette() -> Image.Image:
    image = Image.fromarray(VALUES).convert("L")
    indexed = Image.new("P", image.size)
    indexed.putdata(VALUES.ravel().tolist())
    indexed.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    return indexed


@pytest.mark.parametrize(
    ("mask", "folders"),
    [(palette(), ("SegmentationClass", "JPEGImages")), (Image.fromarray(VALUES), ("masks", "images"))],
)
def test_values_are_labels(mask: Image.Image, folders: tuple[str, str], tmp_path: Path) -> None:
    photo = read(tmp_path, mask, folders)
    assert isinstance(photo, AnnotatedPhoto)
    assert {thing.label for thing in photo.things} == {"0", "1", "3"}
    for thing in photo.things:
        assert thing.mask is not None
        assert (thing.mask == (int(thing.label) == VALUES)).all()


def test_colours_are_labels(tmp_path: Path) -> None:
    photo = read(tmp_path, Image.fromarray(COLOURS[VALUES]), ("masks", "images"))
    assert isinstance(photo, AnnotatedPhoto)
    assert {thing.label for thing in photo.things} == {"#000000", "#ff8000", "#010203"}
    assert all(is_colour(thing.label) for thing in photo.things)


def test_grey_with_alpha_is_refused(tmp_path: Path) -> None:
    found = read(tmp_path, Image.fromarray(VALUES).convert("LA"), ("masks", "images"))
    assert isinstance(found, Refusal)


def test_smoothed_masks_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    found = read(tmp_path, Image.fromarray(noise), ("masks", "images"))
    assert isinstance(found, Refusal)
    assert "over 256 colours" in found.reason
