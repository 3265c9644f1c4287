"""Photographs are decoded as they are seen, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from dentgen.errors import ConditionError
from dentgen.ingest.photos.picture import read_picture

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_and_labels_with_it(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(PIXELS).save(tmp_path / "x.png", exif=exif)
    picture = read_picture(str(tmp_path / "x.png"))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "x.png")))
    assert (picture.pixels == expected).all()
    assert (picture.turned(PIXELS[..., 0].copy()) == expected[..., 0]).all()
    assert picture.stored == (10, 6)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pictures_are_refused(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (4, 4), 0).save(tmp_path / "x.png")
    with pytest.raises(ConditionError) as caught:
        read_picture(str(tmp_path / "x.png"))
    assert caught.value.found == "transparent pixels"
    Image.new(mode, (4, 4), (9, 9, 9, 255) if mode == "RGBA" else (9, 255)).save(tmp_path / "x.png")
    assert (read_picture(str(tmp_path / "x.png")).pixels == 9).all()


@pytest.mark.parametrize("content", [b"", b"GIF89a" + bytes(100), b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_damage_is_named_with_its_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ConditionError) as caught:
        read_picture(str(tmp_path / "x.png"))
    assert caught.value.file == str(tmp_path / "x.png")


def test_sixteen_bits_are_scaled_and_phones_depth_pictures_ignored(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 20_000, np.uint16)).save(tmp_path / "x.png")
    assert (read_picture(str(tmp_path / "x.png")).pixels == 78).all()
    Image.fromarray(PIXELS).save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[Image.fromarray(PIXELS)])
    assert read_picture(str(tmp_path / "x.jpg")).pixels.shape == PIXELS.shape
