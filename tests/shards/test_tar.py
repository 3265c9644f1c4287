"""Deterministic archives, images and JSON that other programs can read."""

from __future__ import annotations

import hashlib
import json
import tarfile
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import webdataset as wds
from PIL import Image

from dentgen.records import TRAINED_ALGORITHMIC_MEDIA
from dentgen.shards.reader import tar_samples
from dentgen.shards.tar import image_bytes, json_bytes, png_bytes, tar_bytes
from tests.shards.sealed_builds import peak_bytes

SAMPLES = [("b", {"png": b"1", "seg.png": b"2", "json": b"{}"}), ("a", {"json": b"{}", "png": b"3", "seg.png": b"4"})]


def test_the_same_members_give_the_same_bytes() -> None:
    first = tar_bytes(SAMPLES)
    again = tar_bytes([(key, dict(reversed(members.items()))) for key, members in SAMPLES])
    assert first == again
    assert hashlib.sha256(first).hexdigest() == "9a17658fe5134eba569602158bf04fd6720b28ad39512d05f5a0441ff0fbfc44"


def test_a_name_that_is_not_ascii_is_read_by_others(tmp_path: Path) -> None:
    """It is in a header of PAX."""
    (tmp_path / "x.tar").write_bytes(tar_bytes([("zähne", {"json": b"{}"})]))
    with tarfile.open(tmp_path / "x.tar") as archive:
        assert archive.getnames() == ["zähne.json"]
    assert [key for key, _ in tar_samples((tmp_path / "x.tar").read_bytes())] == ["zähne"]


def test_headers_hold_nothing_of_this_machine() -> None:
    with tarfile.open(fileobj=BytesIO(tar_bytes(SAMPLES))) as archive:
        for info in archive:
            assert (info.mtime, info.uid, info.gid, info.uname, info.mode) == (0, 0, 0, "dentgen", 0o644)


def test_samples_come_back_in_order(tmp_path: Path) -> None:
    data = tar_bytes(SAMPLES)
    assert list(tar_samples(data)) == SAMPLES
    (tmp_path / "x.tar").write_bytes(data)
    read = [sample["__key__"] for sample in wds.WebDataset(str(tmp_path / "x.tar"), shardshuffle=False)]
    assert read == ["b", "a"]


def test_images_are_lossless_and_without_metadata() -> None:
    rng = np.random.default_rng(0)
    for array in (
        rng.integers(0, 256, (8, 9), dtype=np.uint8),
        rng.integers(0, 256, (8, 9, 3), dtype=np.uint8),
        rng.integers(0, 65536, (8, 9), dtype=np.uint16),
    ):
        image = Image.open(BytesIO(png_bytes(array)))
        assert (np.asarray(image) == array).all()
        assert not image.info


def test_the_level_changes_a_png_and_not_its_pixels() -> None:
    picture = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    files = {level: png_bytes(picture, level=level) for level in (0, 1, 6, 9)}
    assert files[6] == png_bytes(picture), "the default"
    assert len(files[0]) > len(files[1]) > len(files[9])
    for content in files.values():
        assert (np.asarray(Image.open(BytesIO(content))) == picture).all()
    colours = np.dstack([picture] * 3)
    assert len(image_bytes(colours, "png", "x", 0)) > len(image_bytes(colours, "png", "x"))
    assert image_bytes(colours, "webp", "x", 0) == image_bytes(colours, "webp", "x")


@pytest.mark.parametrize("image_format", ["png", "jpg", "webp"])
def test_pictures_name_their_digital_source_type(image_format: str) -> None:
    """There is no other metadata in the file, and the same picture gives the same bytes."""
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    data = image_bytes(picture, image_format, TRAINED_ALGORITHMIC_MEDIA)
    assert data == image_bytes(picture, image_format, TRAINED_ALGORITHMIC_MEDIA)
    image = Image.open(BytesIO(data))
    if image_format != "jpg":
        assert (np.asarray(image) == picture).all()
    description = ElementTree.fromstring(image.info["xmp"])[0][0]
    assert list(description.attrib.values()) == ["", TRAINED_ALGORITHMIC_MEDIA]
    assert set(image.info) <= {"xmp", "XML:com.adobe.xmp", "jfif", "jfif_version", "jfif_unit", "jfif_density",
                               "loop", "background", "timestamp", "duration"}  # fmt: skip


def test_json_is_canonical() -> None:
    assert json_bytes({"b": 1, "a": "ä"}) == '{\n "a": "ä",\n "b": 1\n}\n'.encode()


def test_json_is_encoded_without_holding_its_pieces() -> None:
    """An index of 156,000 shards took 900 MB."""
    value = [{"name": f"{number:06d}.tar", "bytes": number, "samples": 64} for number in range(5000)]
    expected = (json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode()
    assert json_bytes(value) == expected
    assert peak_bytes(lambda: json_bytes(value)) < 3 * len(expected)
