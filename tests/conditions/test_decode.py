"""Decoding: damage is reported with file, found and expected; good records decode to what was encoded."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from dentgen.conditions.decode import MAX_PIXELS, _disagreement, decode_photo, decode_record, valid_key
from dentgen.conditions.readers.raw import RawRecord
from dentgen.documents.conditions import ConditionMetadata
from dentgen.errors import ConditionError
from dentgen.records import ConditionName

WANTED: tuple[ConditionName, ...] = ("segmentation", "lighting")
SMALL = np.zeros((4, 8), np.uint8)
NOISE = np.random.default_rng(0).integers(0, 3, (64, 64)).astype(np.uint8)


def encoded(image: Image.Image | NDArray[np.generic], image_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, format=image_format)
    return buffer.getvalue()


def full(value: int) -> bytes:
    return encoded(np.full((8, 8), value, np.uint8))


def record(**members: bytes) -> RawRecord:
    """A good record of 8 x 8 pixels with some members replaced or added; underscores stand for dots."""
    seg = np.zeros((8, 8), np.uint8)
    seg[2:6, 2:6] = 2
    metadata = json.dumps({"prompt": "p", "split": "s"}).encode()
    good = {"seg.png": encoded(seg), "light.png": encoded(seg * 50), "json": metadata}
    return RawRecord("k", "x.tar: k", {**good, **{name.replace("_", "."): data for name, data in members.items()}})


def rotated() -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("L", (8, 8)).save(buffer, format="PNG", exif=exif)
    return buffer.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A tiny PNG whose header claims a large size."""
    data = bytearray(encoded(Image.new("L", (8, 8))))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def test_good_record_is_decoded() -> None:
    decoded = decode_record(record(), WANTED)
    assert (decoded.key, decoded.group, decoded.split, decoded.prompt) == ("k", "k", "s", "p")
    assert decoded.shape == (8, 8)
    assert decoded.conditions["segmentation"].max() == 2


#: Members that are replaced, file of the error, and facts in what was found and what was expected.
DAMAGED: dict[str, tuple[dict[str, bytes], str, str, str]] = {
    "not an image": ({"seg_png": b"junk"}, "k.seg.png", "", "PNG"),
    "truncated": ({"seg_png": encoded(NOISE)[:80]}, "k.seg.png", "", "PNG"),
    "unknown class": ({"seg_png": full(9)}, "k.seg.png", "[9]", "[0, 1, 2, 3, 4, 5, 6, 7, 8, 255]"),
    "unknown tooth": ({"fdi_png": full(99)}, "k.fdi.png", "[99]", "FDI"),
    "unknown lesion": ({"lesion_png": full(15)}, "k.lesion.png", "[15]", "12, 13, 14, 255]"),
    "lesions of another size": ({"lesion_png": encoded(SMALL)}, "k", "'lesion': (4, 8)", ""),
    "another size": ({"light_png": encoded(SMALL)}, "k", "'light': (4, 8)", ""),
    "colour as grey": (
        {"light_png": encoded(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))}, "k.light.png", "RGB", "mode L",
    ),
    "JPEG labels": ({"seg_png": encoded(NOISE, "JPEG")}, "k.seg.png", "", "PNG"),
    "16 bits": ({"seg_png": encoded(NOISE.astype(np.uint16) * 257)}, "k.seg.png", "[257, 514]", "[0, 1, 2"),
    "palette image": ({"light_png": encoded(Image.fromarray(NOISE).convert("P"))}, "k.light.png", "mode P", "mode L"),
    "alpha channel": ({"light_png": encoded(Image.new("RGBA", (64, 64)))}, "k.light.png", "RGBA", "mode L"),
    "one bit": ({"light_png": encoded(Image.new("1", (64, 64)))}, "k.light.png", "1-bit", "mode L"),
    "grey normals": ({"normal_png": full(1)}, "k.normal.png", "mode L", "RGB"),
    "colour depth": ({"depth_png": encoded(Image.new("RGB", (8, 8)))}, "k.depth.png", "RGB", "16-bit"),
    "EXIF rotation": ({"light_png": rotated()}, "k.light.png", "6", "EXIF"),
    "unknown member": ({"segm_png": b""}, "k", "['segm.png']", "'seg.png'"),
    "truncated JSON": ({"json": b"{"}, "k.json", "", "JSON"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_reported_with_its_file(case: str) -> None:
    members, file, found, expected = DAMAGED[case]
    with pytest.raises(ConditionError) as caught:
        decode_record(record(**members), WANTED)
    assert caught.value.file == f"x.tar: {file}"
    assert found in caught.value.found
    assert expected in caught.value.expected


def test_missing_member_is_reported() -> None:
    raw = record()
    del raw.members["light.png"]
    with pytest.raises(ConditionError) as caught:
        decode_record(raw, WANTED)
    assert caught.value.file == "x.tar: k"
    assert "'light.png'" in caught.value.expected
    assert decode_record(raw, ("segmentation",)).key == "k"


def test_problem_found_while_reading_is_raised() -> None:
    raw = record()
    raw.problem = ConditionError("x.tar: k.seg.png", "a link", "a file")
    with pytest.raises(ConditionError) as caught:
        decode_record(raw, WANTED)
    assert caught.value is raw.problem


@pytest.mark.parametrize("size", [(MAX_PIXELS // 4096 + 1, 4096), (10_000, 10_000), (2**17, 2**17)])
def test_too_large_image_is_rejected_by_its_header(size: tuple[int, int]) -> None:
    """From just above the limit to where Pillow would warn, and to where it would raise an error of its own."""
    with pytest.raises(ConditionError) as caught:
        decode_record(record(seg_png=png_claiming(*size)), WANTED)
    assert caught.value.file == "x.tar: k.seg.png"
    assert all(str(edge) in caught.value.found for edge in size)
    assert str(MAX_PIXELS) in caught.value.expected


def test_threads_decode_without_touching_the_warning_filters() -> None:
    """Silencing a warning swaps the filters of the whole process: threads that overlap restore each other's.

    Pillow would warn about the large image, so the test turns warnings into errors.
    """

    def outcome(raw: RawRecord) -> str:
        try:
            return decode_record(raw, WANTED).key
        except ConditionError as error:
            return error.file

    records = [record(), record(seg_png=png_claiming(10_000, 10_000))] * 100
    interval = sys.getswitchinterval()
    with warnings.catch_warnings(), ThreadPoolExecutor(4) as pool:
        warnings.simplefilter("error")
        filters = list(warnings.filters)
        sys.setswitchinterval(1e-6)
        try:
            assert list(pool.map(outcome, records)) == ["k", "x.tar: k.seg.png"] * 100
        finally:
            sys.setswitchinterval(interval)
        assert list(warnings.filters) == filters


def test_flipped_bit_never_becomes_another_label() -> None:
    """Pillow checks neither chunk checksums nor zlib's while decoding."""
    seg = np.tile(np.arange(3, dtype=np.uint8), (16, 16))[:16, :16]
    intact = encoded(seg)
    for bit in range(8 * len(intact)):
        flipped = bytearray(intact)
        flipped[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(ConditionError):
            decoded = decode_record(RawRecord("k", "x.tar: k", {"seg.png": bytes(flipped)}), ("segmentation",))
            assert np.array_equal(decoded.conditions["segmentation"], seg), f"bit {bit}"


def test_parsed_metadata_are_used_without_reading_the_member() -> None:
    metadata = ConditionMetadata(group="g", prompt="other", license="CC0-1.0", shade="ivory")
    decoded = decode_record(record(json=b"{"), WANTED, metadata=metadata)
    assert (decoded.group, decoded.prompt, decoded.license) == ("g", "other", "CC0-1.0")
    assert decoded.attributes == {"shade": "ivory"}


@pytest.mark.parametrize(("extension", "image_format"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")])
def test_photo_is_what_pillow_decodes(extension: str, image_format: str) -> None:
    """At twice the resolution of the maps, in every format."""
    rng = np.random.default_rng(1)
    data = encoded(rng.integers(0, 256, (16, 16, 3)).astype(np.uint8), image_format)
    raw = record(**{f"photo_{extension}": data})
    photo = decode_record(raw, WANTED, with_photo=True).photo
    assert photo is not None
    assert np.array_equal(photo, np.asarray(Image.open(io.BytesIO(data))))
    assert decode_record(raw, WANTED).photo is None


def test_photo_with_another_aspect_ratio_is_rejected() -> None:
    with pytest.raises(ConditionError) as caught:
        decode_record(record(photo_png=encoded(Image.new("RGB", (32, 16)))), WANTED, with_photo=True)
    assert caught.value.file == "x.tar: k.photo.png"
    assert "32 x 16" in caught.value.found
    assert "8 x 8" in caught.value.expected


@pytest.mark.parametrize(
    "key", ["p.1", "../x", "/x", "a/../b", "", "k" * 81, "ä" * 41, "a\nb", "a\\b", "a\udcff", "__x", "a/__b", "__x__/a"]
)
def test_keys_that_cannot_be_member_names_are_rejected(key: str) -> None:
    assert not valid_key(key)
    with pytest.raises(ConditionError) as caught:
        decode_record(RawRecord(key, "x.tar: k", record().members), WANTED)
    assert caught.value.found.isprintable()


@pytest.mark.parametrize("key", ["patient 1/left", "k" * 80, "ä" * 40, "a__b", "_x", "a/_b__", "#1"])
def test_keys_that_can_be_member_names_are_accepted(key: str) -> None:
    assert valid_key(key)
    assert decode_record(RawRecord(key, "x", record().members), WANTED).key == key


def test_equal_channels_are_read_as_grey() -> None:
    light = np.random.default_rng(2).integers(0, 256, (8, 8)).astype(np.uint8)
    decoded = decode_record(record(light_png=encoded(np.stack([light] * 3, -1))), WANTED)
    assert np.array_equal(decoded.conditions["lighting"], light)


def test_depth_keeps_its_range() -> None:
    depth = np.array([[0, 1, 256, 65535]], np.uint16).repeat(8, 0).repeat(2, 1)
    decoded = decode_record(record(depth_png=encoded(depth)), WANTED).conditions["depth"]
    assert decoded.dtype == np.uint16
    assert np.array_equal(decoded, depth)
    eight_bit = decode_record(record(depth_png=full(255)), WANTED).conditions["depth"]
    assert int(eight_bit.max()) == 65535, "8-bit depth is scaled to 16 bits"


def test_disagreeing_labels_are_a_warning() -> None:
    (warning,) = decode_record(record(fdi_png=full(11)), WANTED).warnings
    assert "75.0%" in warning


def test_restorations_and_appliances_do_not_count_as_disagreement() -> None:
    """A crown is a tooth with a number; a bracket hides its tooth, whether the number continues under it or not."""
    seg = np.full((20, 20), 2, np.uint8)
    fdi = np.full((20, 20), 11, np.uint8)
    seg[:5], seg[5:10] = 4, 5
    assert _disagreement(seg, fdi) == ()
    fdi[5:10] = 0
    assert _disagreement(seg, fdi) == ()
    fdi[:5] = 0
    assert "25.0%" in _disagreement(seg, fdi)[0]


def test_condition_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(ConditionError("p", "f", "e")))
    assert (error.file, error.found, error.expected) == ("p", "f", "e")
    assert str(error) == "p: found f, expected e"


def test_a_photo_is_decoded_without_its_maps() -> None:
    photo = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    raw = record(photo_png=encoded(photo), seg_png=b"torn")
    np.testing.assert_array_equal(decode_photo(raw), photo)
    assert decode_photo(record()) is None
    with pytest.raises(ConditionError) as caught:
        decode_photo(record(photo_png=b"torn"))
    assert caught.value.file == "x.tar: k.photo.png"
    raw.problem = ConditionError("x.tar: k", "no end", "a whole file")
    with pytest.raises(ConditionError) as caught:
        decode_photo(raw)
    assert caught.value is raw.problem
