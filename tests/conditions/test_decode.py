"""Decoding: what is wrong is named by file, key, found and expected."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from dentgen.conditions.decode import MAX_PIXELS, _disagreement, decode_record
from dentgen.conditions.readers.raw import RawRecord
from dentgen.errors import ConditionError
from dentgen.records import ConditionName

WANTED: tuple[ConditionName, ...] = ("segmentation", "lighting")


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


def record(**members: bytes) -> RawRecord:
    seg = np.zeros((8, 8), np.uint8)
    seg[2:6, 2:6] = 2
    good = {"seg.png": png(seg), "light.png": png(seg * 50), "json": json.dumps({"prompt": "p", "split": "s"}).encode()}
    return RawRecord("k", "x.tar: k", {**good, **{name.replace("_", "."): data for name, data in members.items()}})


def test_a_good_record() -> None:
    found = decode_record(record(), WANTED)
    assert (found.key, found.group, found.split, found.prompt, found.shape) == ("k", "k", "s", "p", (8, 8))
    assert found.conditions["segmentation"].max() == 2


def encoded(image: Image.Image | NDArray[np.uint8], image_format: str) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, format=image_format)
    return buffer.getvalue()


def turned() -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("L", (8, 8)).save(buffer, format="PNG", exif=exif)
    return buffer.getvalue()


SMALL = np.zeros((4, 8), np.uint8)
NOISE = np.random.default_rng(0).integers(0, 3, (64, 64)).astype(np.uint8)
CASES = {
    "no image": ({"seg_png": b"junk"}, "x.tar: k.seg.png", "whole image"),
    "truncated": ({"seg_png": png(NOISE)[:80]}, "seg.png", "whole image"),
    "unknown class": ({"seg_png": png(np.full((8, 8), 9, np.uint8))}, "class values", "0, 1, 2"),
    "unknown tooth": ({"fdi_png": png(np.full((8, 8), 99, np.uint8))}, "values [99]", "FDI"),
    "another size": ({"light_png": png(SMALL)}, "sizes", "same size"),
    "colour as grey": ({"light_png": png(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))}, "mode RGB", "mode L"),
    "jpeg labels": ({"seg_png": encoded(NOISE, "JPEG")}, "k.seg.png", "PNG"),
    "sixteen bits": ({"seg_png": png(NOISE.astype(np.uint16))}, "mode I;16", "mode L"),
    "a palette": ({"seg_png": encoded(Image.fromarray(NOISE).convert("P"), "PNG")}, "mode P", "mode L"),
    "transparency": ({"light_png": encoded(Image.new("RGBA", (64, 64)), "PNG")}, "mode RGBA", "mode L"),
    "one bit": ({"seg_png": encoded(Image.new("1", (64, 64)), "PNG")}, "mode 1", "mode L"),
    "turned by EXIF": ({"light_png": turned()}, "EXIF orientation 6", "upright"),
    "a member that nobody knows": ({"segm_png": b""}, "unknown members ['segm.png']", "seg.png"),
    "no json": ({"json": b"{"}, "k.json", "JSON object"),
    "json of another kind": ({"json": b"[1]"}, "k.json", "JSON object"),
    "prompt of another kind": ({"json": b'{"prompt": 3}'}, "prompt", "JSON object"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_damage_is_named(case: str) -> None:
    members, *words = CASES[case]
    with pytest.raises(ConditionError) as caught:
        decode_record(record(**members), WANTED)
    for word in ("x.tar: k", *words):
        assert word in str(caught.value)


def test_a_missing_member_is_named() -> None:
    raw = record()
    del raw.members["light.png"]
    with pytest.raises(ConditionError, match=r"expected a member 'light\.png'"):
        decode_record(raw, WANTED)
    assert decode_record(raw, ("segmentation",)).key == "k"


def test_a_decompression_bomb_is_refused_unread() -> None:
    buffer = io.BytesIO()
    Image.new("L", (MAX_PIXELS // 4096 + 1, 4096)).save(buffer, format="PNG")
    with pytest.raises(ConditionError, match="pixels"):
        decode_record(record(seg_png=buffer.getvalue()), WANTED)


def test_a_flipped_bit_never_becomes_another_label() -> None:
    """Pillow asks neither the chunks' checksums nor zlib's: of these files one in two hundred was taken as good."""
    seg = np.tile(np.arange(3, dtype=np.uint8), (16, 16))[:16, :16]
    whole = png(seg)
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(ConditionError):
            found = decode_record(RawRecord("k", "x.tar: k", {"seg.png": bytes(flipped)}), ("segmentation",))
            assert np.array_equal(found.conditions["segmentation"], seg), f"bit {bit}"


def test_metadata_are_no_archive() -> None:
    with pytest.raises(ConditionError, match=r"k\.json: found \d+ bytes, expected at most"):
        decode_record(record(json=b'{"x": [' + b"0," * 2**19 + b"0]}"), WANTED)


def test_disagreeing_labels_are_a_warning() -> None:
    raw = record(fdi_png=png(np.full((8, 8), 11, np.uint8)))
    (warning,) = decode_record(raw, WANTED).warnings
    assert "75.0%" in warning


def test_errors_survive_pickling(tmp_path: Path) -> None:
    import pickle

    error = pickle.loads(pickle.dumps(ConditionError("p", "f", "e")))
    assert str(error) == "p: found f, expected e"


@pytest.mark.parametrize("key", ["p.1", "../x", "/x", "a/../b", "", "k" * 81, "ä" * 41, "a\nb", "a\\b", "a\udcff"])
def test_keys_that_cannot_be_member_names_are_refused(key: str) -> None:
    with pytest.raises(ConditionError, match="the key"):
        decode_record(RawRecord(key, "x.tar: k", record().members), WANTED)
    assert decode_record(RawRecord("patient 1/left", "x", record().members), WANTED).key == "patient 1/left"


def test_eight_bit_depth_keeps_its_range() -> None:
    found = decode_record(record(depth_png=png(np.full((8, 8), 255, np.uint8))), WANTED)
    assert int(found.conditions["depth"].max()) == 65535


def test_restorations_and_braces_are_no_disagreement() -> None:
    """A crown is a tooth with a number; a bracket hides its tooth, whether the number goes on under it or not."""
    seg = np.full((20, 20), 2, np.uint8)
    fdi = np.full((20, 20), 11, np.uint8)
    seg[:5], seg[5:10] = 4, 5
    assert _disagreement(seg, fdi) == ()
    fdi[5:10] = 0
    assert _disagreement(seg, fdi) == ()
    fdi[:5] = 0
    assert "25.0%" in _disagreement(seg, fdi)[0]
