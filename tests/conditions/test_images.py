"""Pixels as files store them: every depth and colour type of PNG, and what other formats hide.

The files are written by an encoder of the tests, because Pillow writes neither all depths nor interlaced files.
"""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from dentgen.conditions.images import (
    StoredImage,
    colours,
    depth_levels,
    grey_levels,
    label_values,
    opaque_colours,
    read_image,
)
from dentgen.errors import ConditionError
from tests.conftest import ROOT
from tests.faults.pictures import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, SIGNATURE, chunk, png_of

PHOTO = ("PNG", "JPEG", "WEBP")
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
#: Every combination that PNG has.
LAYOUTS = [
    *((GREY, bits) for bits in (1, 2, 4, 8, 16)),
    *((PALETTE, bits) for bits in (1, 2, 4, 8)),
    *((kind, bits) for kind in (RGB, GREY_ALPHA, RGBA) for bits in (8, 16)),
]
Numbers = NDArray[np.uint8] | NDArray[np.uint16]


def read(content: bytes) -> StoredImage:
    return read_image("x.tar: k.seg.png", content, PHOTO, 10_000)


def numbers(kind: int, bits: int, *, interlaced: bool = False) -> tuple[Numbers, bytes]:
    """Random numbers of a layout, 11 rows of 13, and their PNG."""
    values = np.random.default_rng(bits).integers(0, 2**bits, (11, 13, CHANNELS[kind]))
    values = values[..., 0] if CHANNELS[kind] == 1 else values
    narrow: Numbers = values.astype(np.uint16) if bits == 16 else values.astype(np.uint8)
    return narrow, png_of(narrow, kind, bits=bits, interlaced=interlaced)


def filled(*levels: int, kind: int, bits: int, extra: tuple[bytes, ...] = (), palette: bytes = bytes(768)) -> bytes:
    """A PNG of two pixels: zeros, and ``levels``."""
    pixels = np.array([[[0] * len(levels), levels]])
    narrow: Numbers = pixels.astype(np.uint16) if bits == 16 else pixels.astype(np.uint8)
    return png_of(narrow, kind, bits=bits, extra=extra, palette=palette)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("kind", "bits"), LAYOUTS)
def test_values_are_those_in_the_file(kind: int, bits: int, interlaced: bool) -> None:
    values, content = numbers(kind, bits, interlaced=interlaced)
    image = read(content)
    found = image.values if image.low is None else (image.values.astype(np.uint16) << 8) + image.low
    if (kind, bits) == (GREY_ALPHA, 16):
        assert np.array_equal(found, values[..., [0, 1]])
    else:
        assert np.array_equal(found, values)
    assert (image.mode, image.bits) == ({0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}[kind], bits)
    assert image.transparent == (kind in {GREY_ALPHA, RGBA})


@pytest.mark.parametrize(
    ("kind", "bits", "label"),
    [
        (GREY, 1, 1), (GREY, 2, 3), (GREY, 4, 11), (GREY, 8, 21), (GREY, 16, 21), (RGB, 8, 21), (RGB, 16, 21),
        (PALETTE, 1, 1), (PALETTE, 4, 15), (PALETTE, 8, 21),
    ],
)  # fmt: skip
def test_labels_are_stored_values(kind: int, bits: int, label: int) -> None:
    """Pillow makes 1 of 4 bits 17, and 21 of 16-bit colour 0."""
    content = filled(*[label] * CHANNELS[kind], kind=kind, bits=bits, palette=b"\0\0\0" + b"\x80\0\0" * 255)
    labels, unknown = label_values(read(content), {0, label})
    assert labels.dtype == np.uint8
    assert (labels.tolist(), unknown) == ([[0, label]], [])
    assert label_values(read(content), {0})[1] == [label]


@pytest.mark.parametrize(("kind", "found"), [(GREY_ALPHA, "mode LA"), (RGBA, "mode RGBA")])
@pytest.mark.parametrize("bits", [8, 16])
def test_labels_have_no_alpha(kind: int, found: str, bits: int) -> None:
    with pytest.raises(ConditionError) as caught:
        label_values(read(filled(*[1] * CHANNELS[kind], kind=kind, bits=bits)), {0, 1})
    assert caught.value.file == "x.tar: k.seg.png"
    assert caught.value.found == f"{found}, {bits}-bit"
    assert "mode L" in caught.value.expected


def test_labels_of_16_bits_that_need_them_are_unknown() -> None:
    for kind in (GREY, RGB):
        content = filled(*[257] * CHANNELS[kind], kind=kind, bits=16)
        assert label_values(read(content), {0, 1})[1] == [257]
    with pytest.raises(ConditionError):
        label_values(read(filled(1, 2, 1, kind=RGB, bits=16)), {0, 1, 2})


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (filled(1, kind=GREY, bits=1), 255),
        (filled(3, kind=GREY, bits=2), 255),
        (filled(1, kind=PALETTE, bits=8, palette=b"\0\0\0\xff\xff\xff"), 255),
        (filled(3, kind=PALETTE, bits=2, palette=b"\0\0\0\1\1\1\2\2\2\xff\xff\xff"), 255),
    ],
)
def test_labels_that_an_optimiser_may_have_renumbered_are_refused(content: bytes, shown: int) -> None:
    """0 and 255 become one bit, and any grey becomes a palette, without another look in a viewer."""
    with pytest.raises(ConditionError) as caught:
        label_values(read(content), {0, 1, 2, 3, shown})
    assert str(shown) in caught.value.found
    assert label_values(read(content), {0, 1, 2, 3})[1] == []


def test_a_grey_ramp_as_palette_changes_nothing() -> None:
    ramp = bytes(level for level in range(256) for _ in range(3))
    assert label_values(read(filled(21, kind=PALETTE, bits=8, palette=ramp)), range(256))[0].tolist() == [[0, 21]]


@pytest.mark.parametrize(
    ("bits", "level", "expected"), [(2, 1, 85), (4, 1, 17), (8, 77, 77), (16, 65535, 255), (16, 384, 1), (16, 386, 2)]
)
def test_grey_levels_are_scaled_to_8_bits(bits: int, level: int, expected: int) -> None:
    assert grey_levels(read(filled(level, kind=GREY, bits=bits))).tolist() == [[0, expected]]


@pytest.mark.parametrize("kind", [GREY, RGB, RGBA])
def test_16_bits_are_rounded_to_8(kind: int) -> None:
    values, content = numbers(kind, 16)
    image = read(content)
    expected = np.rint(values / 257).astype(np.uint8)
    if kind == GREY:
        assert np.array_equal(grey_levels(image), expected)
        assert np.array_equal(opaque_colours(image), np.repeat(expected[..., None], 3, -1))
        assert np.array_equal(depth_levels(image), values)
    elif kind == RGB:
        assert np.array_equal(colours(image), expected)
        assert np.array_equal(opaque_colours(image), expected)
    else:
        values[..., 3] = 65535
        assert np.array_equal(opaque_colours(read(png_of(values, kind))), expected[..., :3])


@pytest.mark.parametrize("kind", [GREY, RGB])
def test_8_bits_in_a_16_bit_file_do_not_become_black(kind: int) -> None:
    image = read(filled(*[200] * CHANNELS[kind], kind=kind, bits=16))
    for convert in (grey_levels, opaque_colours):
        with pytest.raises(ConditionError) as caught:
            convert(image)
        assert "200" in caught.value.found


@pytest.mark.parametrize(("bits", "level", "expected"), [(2, 1, 21845), (4, 1, 4369), (8, 255, 65535), (16, 7, 7)])
def test_depth_is_scaled_to_16_bits(bits: int, level: int, expected: int) -> None:
    assert depth_levels(read(filled(level, kind=GREY, bits=bits))).tolist() == [[0, expected]]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", [GREY_ALPHA, RGBA])
def test_photos_with_alpha_are_opaque_everywhere(kind: int, bits: int) -> None:
    top = 2**bits - 1
    pixels = np.full((1, 2, CHANNELS[kind]), top, np.uint16 if bits == 16 else np.uint8)
    assert opaque_colours(read(png_of(pixels, kind))).tolist() == [[[255] * 3] * 2]
    pixels[0, 1, -1] = top - 1
    with pytest.raises(ConditionError) as caught:
        opaque_colours(read(png_of(pixels, kind)))
    assert "transparent" in caught.value.found


@pytest.mark.parametrize(
    ("kind", "bits", "levels", "key"),
    [
        (GREY, 8, (9,), struct.pack(">H", 9)),
        (GREY, 4, (9,), struct.pack(">H", 9)),
        (GREY, 1, (1,), struct.pack(">H", 1)),
        (GREY, 16, (999,), struct.pack(">H", 999)),
        (RGB, 8, (1, 2, 3), struct.pack(">3H", 1, 2, 3)),
        (RGB, 16, (1000, 2, 3), struct.pack(">3H", 1000, 2, 3)),
        (PALETTE, 8, (2,), b"\xff\xff\x80"),
    ],
)
def test_a_transparent_colour_matters_to_photos_only(kind: int, bits: int, levels: tuple[int, ...], key: bytes) -> None:
    image = read(filled(*levels, kind=kind, bits=bits, extra=(chunk(b"tRNS", key),)))
    assert image.transparent
    with pytest.raises(ConditionError):
        opaque_colours(image)
    if kind == GREY and bits < 16:
        assert label_values(image, {0, *levels})[0].tolist() == [[0, *levels]]
    other = b"\xff\xff\xff\0" if kind == PALETTE else struct.pack(f">{len(levels)}H", *[7] * len(levels))
    assert bits == 1 or not read(filled(*levels, kind=kind, bits=bits, extra=(chunk(b"tRNS", other),))).transparent


def test_a_palette_photo_has_its_colours() -> None:
    content = filled(1, kind=PALETTE, bits=2, palette=b"\1\2\3\4\5\6")
    assert opaque_colours(read(content)).tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_colour_management_changes_nothing() -> None:
    profile = chunk(b"iCCP", b"p\0\0" + zlib.compress(b"no profile"))
    for extra in (chunk(b"gAMA", struct.pack(">I", 100000)), chunk(b"sRGB", b"\0"), profile):
        image = read(filled(200, kind=GREY, bits=8, extra=(extra,)))
        assert grey_levels(image).tolist() == [[0, 200]]


def animation(image_format: str) -> bytes:
    frames, buffer = [Image.new("RGB", (8, 8), (level, 0, 0)) for level in (0, 200)], io.BytesIO()
    frames[0].save(buffer, image_format, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
def test_animations_are_refused(image_format: str) -> None:
    with pytest.raises(ConditionError) as caught:
        read(animation(image_format))
    assert "2 frames" in caught.value.found


def apple_png() -> bytes:
    """Xcode's own PNG: a CgBI chunk, raw deflate, blue before red."""
    head = struct.pack(">IIBBBBB", 1, 1, 8, RGBA, 0, 0, 0)
    deflate = zlib.compressobj(wbits=-15)
    data = deflate.compress(b"\0\1\2\3\xff") + deflate.flush()
    parts = [chunk(b"CgBI", b"\x50\0\x20\6"), chunk(b"IHDR", head), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return SIGNATURE + b"".join(parts)


def cmyk() -> bytes:
    buffer = io.BytesIO()
    Image.new("CMYK", (8, 8), (0, 100, 0, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


def twelve_bit() -> bytes:
    """A JPEG whose frame header says 12 bits."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    content = bytearray(buffer.getvalue())
    content[content.index(b"\xff\xc0") + 4] = 12
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "fact"), [(apple_png(), "unreadable"), (twelve_bit(), "12-bit"), (b"GIF89a", "header")]
)
def test_other_formats_are_refused(content: bytes, fact: str) -> None:
    with pytest.raises(ConditionError) as caught:
        read(content)
    assert fact in caught.value.found


def test_cmyk_has_no_rgb() -> None:
    with pytest.raises(ConditionError) as caught:
        opaque_colours(read(cmyk()))
    assert "CMYK" in caught.value.found


@pytest.mark.parametrize("orientation", range(10))
def test_orientations_0_and_1_are_upright(orientation: int) -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = orientation
    Image.new("L", (8, 8)).save(buffer, "PNG", exif=exif)
    if orientation < 2:
        assert read(buffer.getvalue()).values.shape == (8, 8)
        return
    with pytest.raises(ConditionError) as caught:
        read(buffer.getvalue())
    assert str(orientation) in caught.value.found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads peak memory from /proc")
@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_compressed_text_may_not_expand_without_end(kind: bytes) -> None:
    """200 MB from 200 kB; the reader stops long before."""
    bomb = zlib.compress(bytes(200 * 2**20))
    content = {b"zTXt": b"k\0\0" + bomb, b"iTXt": b"k\0\1\0\0\0" + bomb, b"iCCP": b"k\0\0" + bomb}[kind]
    png = filled(1, kind=GREY, bits=8, extra=(chunk(kind, content),))
    code = (
        "import re, sys\n"
        "from dentgen.conditions.images import read_image\n"
        "from dentgen.errors import ConditionError\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "before = peak()\n"
        "try: read_image('k', sys.stdin.buffer.read(), ('PNG',), 100)\n"
        "except ConditionError: pass\n"
        "print(peak() - before)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], input=png, capture_output=True, check=True, cwd=ROOT)
    assert int(run.stdout) < 100_000, "kilobytes"


@pytest.mark.parametrize("size", [(2**31, 1), (2**31 - 1, 2**31 - 1), (101, 100), (0, 5)])
def test_sizes_are_checked_before_pixels_are_decoded(size: tuple[int, int]) -> None:
    content = filled(1, kind=GREY, bits=8)
    head = struct.pack(">II", *size) + content[24:29]
    with pytest.raises(ConditionError):
        read(content[:8] + chunk(b"IHDR", head) + content[33:])
