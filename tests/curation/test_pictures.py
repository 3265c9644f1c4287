"""Pictures of builds and records, in order; what has none is passed over."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen import storage
from dentgen.curation.pictures import read_pictures
from dentgen.errors import BuildError
from dentgen.shards.reader import read_samples
from dentgen.shards.tar import png_bytes
from tests.conftest import write_tar
from tests.report.fake_builds import fake_build, noise, written

SEG = png_bytes(np.ones((8, 8), np.uint8))


def test_pictures_of_a_build_are_those_of_its_samples(tmp_path: Path) -> None:
    fake_build(tmp_path, [written(0), written(1)])
    found = list(read_pictures(str(tmp_path)))
    assert [(picture.key, picture.shard) for picture in found] == [
        (key, f"00000{number}.tar") for number in range(2) for key in (f"jaw-00{number}-v000", f"jaw-00{number}-v001")
    ]
    for picture, (key, members) in zip(found, read_samples(str(tmp_path)), strict=True):
        np.testing.assert_array_equal(picture.pixels, noise(key, (16, 16)))
        np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(io.BytesIO(members["png"]))))


def test_reading_ends_with_the_last_picture_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_build(tmp_path, [written(n) for n in range(3)])
    read: list[str] = []
    read_range = storage.read_range

    def noted(url: str, start: int, stop: int) -> bytes:
        read.append(storage.name_of(url))
        return read_range(url, start, stop)

    monkeypatch.setattr(storage, "read_range", noted)
    keys = ["jaw-001-v001", "jaw-000-v001"]
    assert [picture.key for picture in read_pictures(str(tmp_path), keys)] == keys[::-1]
    assert read == ["000000.tar", "000001.tar"]
    assert list(read_pictures(str(tmp_path), [])) == []


def test_records_without_photo_and_damaged_ones_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photo = noise("photo", (8, 8))
    records = {
        "a": {"seg.png": SEG, "photo.png": png_bytes(photo)},
        "b": {"seg.png": SEG},
        "c": {"seg.png": SEG, "photo.png": b"torn"},
        "d": {"seg.png": b"torn", "photo.png": png_bytes(photo)},
    }
    write_tar(tmp_path / "x.tar", records)
    found = list(read_pictures(str(tmp_path)))
    assert [(picture.key, picture.shard) for picture in found] == [("a", "x.tar"), ("d", "x.tar")]
    np.testing.assert_array_equal(found[0].pixels, photo)
    assert "c.photo.png" in caplog.text
    assert [picture.key for picture in read_pictures(str(tmp_path), {"d"})] == ["d"]


def test_a_damaged_shard_of_a_build_is_an_error(tmp_path: Path) -> None:
    fake_build(tmp_path, [written(0)])
    shard = tmp_path / "shards" / "000000.tar"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(BuildError) as caught:
        list(read_pictures(str(tmp_path)))
    assert caught.value.file == str(shard)
