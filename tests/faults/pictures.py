"""PNG files as all kinds of exporters write them, and invalid ones: assembled chunk by chunk.

Pillow writes neither interlaced nor invalid files.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dentgen.conditions.labels import FDI_NUMBERS, SEG_CLASSES

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
#: Adam7: first row and column, steps down and across.
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def chunk(kind: bytes, content: bytes) -> bytes:
    """Length, kind, content, CRC."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def chunks(png: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of every chunk of a complete PNG."""
    place = len(SIGNATURE)
    while place + 12 <= len(png):
        end = place + 12 + int(struct.unpack_from(">I", png, place)[0])
        yield place, end
        place = end


def png_of(
    pixels: Pixels,
    colour_type: int,
    *,
    bits: int | None = None,
    interlaced: bool = False,
    extra: Sequence[bytes] = (),
    palette: bytes = bytes(range(256)) * 3,
    level: int = 6,
) -> bytes:
    """A PNG of pixels (H, W) or (H, W, channels) of 1, 2, 4, 8 or 16 bits (by default those of the array).

    ``extra`` chunks come after the palette, if there is one, and before the data.
    """
    height, width = pixels.shape[:2]
    bits = bits or 8 * pixels.dtype.itemsize
    head = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, int(interlaced))
    parts = [pixels[y::dy, x::dx] for y, x, dy, dx in _PASSES] if interlaced else [pixels]
    data = zlib.compress(b"".join(_lines(part, bits) for part in parts if part.size), level)
    colours = [chunk(b"PLTE", palette)] if colour_type == PALETTE else []
    cut = len(data) // 2
    body = [chunk(b"IDAT", data[:cut]), chunk(b"IDAT", data[cut:])]
    return b"".join([SIGNATURE, chunk(b"IHDR", head), *colours, *extra, *body, chunk(b"IEND", b"")])


def _lines(part: Pixels, bits: int) -> bytes:
    """Scan lines, each preceded by a filter byte of 0."""
    rows = part.reshape(len(part), -1)
    if bits < 8:
        places = np.arange(bits - 1, -1, -1)
        return b"".join(b"\0" + np.packbits(row[:, None] >> places & 1).tobytes() for row in rows)
    return b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in rows)


def extra_chunks(rng: np.random.Generator) -> list[bytes]:
    """Text, an invalid ICC profile, EXIF (now and then with a rotation), gamma, a private chunk."""
    orientation = 1 if rng.random() < 0.7 else int(rng.integers(0, 10))
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + struct.pack(">HH", orientation, 0) + bytes(4)
    found = [
        chunk(b"tEXt", b"Comment\0" + rng.bytes(20)),
        chunk(b"zTXt", b"Long\0\0" + zlib.compress(bytes(2000))),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"),
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(rng.bytes(60))),
        chunk(b"eXIf", exif),
        chunk(b"gAMA", struct.pack(">I", 45455)),
        chunk(b"tRNS", struct.pack(">H", 0)),
        chunk(b"acTL", struct.pack(">II", 2, 0)),
        chunk(b"deNt", rng.bytes(9)),
    ]
    return [one for one in found if rng.random() < 0.25]


def map_pixels(rng: np.random.Generator, member: str, shape: tuple[int, int]) -> Pixels:
    """Valid values of a map, in patches."""
    small = (-(-shape[0] // 4), -(-shape[1] // 4))
    match member:
        case "seg":
            coarse = rng.choice(np.array(sorted(SEG_CLASSES), np.uint8), small)
        case "fdi":
            coarse = rng.choice(np.array([0, *sorted(FDI_NUMBERS)], np.uint8), small)
        case "normal" | "photo":
            return rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
        case "depth":
            return rng.integers(0, 65536, shape).astype(np.uint16)
        case _:
            coarse = rng.integers(0, 256, small).astype(np.uint8)
    return coarse.repeat(4, 0).repeat(4, 1)[: shape[0], : shape[1]]


def map_png(rng: np.random.Generator, pixels: Pixels, *, labels: bool = False) -> bytes:
    """A map in one of the encodings that hold exactly these pixels; ``labels`` may be indices."""
    colour_type = RGB if pixels.ndim == 3 else GREY
    if pixels.ndim == 2 and pixels.dtype == np.uint8 and rng.random() < 0.2:
        pixels, colour_type = np.repeat(pixels[..., None], 3, -1).astype(np.uint8), RGB
    if pixels.dtype == np.uint8 and rng.random() < 0.2:  # an 8-bit image in 16 bits, scaled as all software does
        pixels = pixels.astype(np.uint16) * np.uint16(1 if labels else 257)
    if pixels.ndim == 2 and labels and rng.random() < 0.1:
        pixels, colour_type = pixels.astype(np.uint8), PALETTE
    extra = extra_chunks(rng) if rng.random() < 0.3 else ()
    return png_of(pixels, colour_type, interlaced=rng.random() < 0.2, extra=extra, level=int(rng.integers(0, 10)))


def strange_png(rng: np.random.Generator, shape: tuple[int, int]) -> bytes:
    """A complete PNG that is no valid map: palette, alpha, too many bits, or a size far beyond its bytes."""
    colour_type = int(rng.choice([GREY, RGB, PALETTE, GREY_ALPHA, RGBA]))
    channels = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}[colour_type]
    depths = {GREY: (1, 2, 4, 8, 16), PALETTE: (1, 2, 4, 8)}.get(colour_type, (8, 16))
    bits = int(rng.choice(depths))
    values = rng.integers(0, 2 ** int(rng.integers(1, bits + 1)), (*shape, channels))
    pixels = values.astype(np.uint16) if bits == 16 else values.astype(np.uint8)
    png = png_of(pixels, colour_type, bits=bits, interlaced=rng.random() < 0.3, extra=extra_chunks(rng))
    if rng.random() < 0.2:
        sides = [int(side) for side in rng.choice([0, 1, 5000, 8192, 2**31 - 1, 2**32 - 1], 2)]
        head = struct.pack(">II", *sides) + png[24:29]
        png = png[:8] + chunk(b"IHDR", head) + png[33:]
    return png
