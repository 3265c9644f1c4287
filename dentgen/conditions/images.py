"""Image files as they store their pixels: depth, palette and alpha are never converted silently.

Pillow scales 1, 2 and 4 bits to 8, keeps the high byte of 16-bit colour and clips 16-bit grey, all without a word. Here
the number of bits is read from the file, and of 16-bit colour both bytes.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from dentgen.conditions.readers.raw import short
from dentgen.errors import ConditionError

Bytes = NDArray[np.uint8]

#: Pillow's readers by format and first bytes. ``Image.open`` would also warn about large images, though dentgen's limit
#: is stricter, and a warning is silenced by changing the filters of the whole process, which is not thread-safe.
_READERS: Final[dict[str, tuple[bytes, Callable[[io.BytesIO], ImageFile]]]] = {
    "PNG": (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    "JPEG": (b"\xff\xd8\xff", JpegImagePlugin.jpeg_factory),
    "WEBP": (b"RIFF", WebPImagePlugin.WebPImageFile),
}
#: What Pillow has been seen to raise on damaged images; it documents none of these.
_DECODE_ERRORS: Final = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip
#: EXIF orientations of upright pixels; cameras without a sensor write 0.
_UPRIGHT: Final = (0, 1)
#: Pillow's names of 16-bit layouts in a PNG, and those that give the low bytes: two bytes of grey and alpha are four
#: channels of one byte.
_LOW_BYTES: Final = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "LA;16B": "RGBA"}


@dataclass(frozen=True, slots=True)
class StoredImage:
    """Pixels of a complete, upright image.

    Attributes:
        place: Name of the file, for messages.
        mode: Channels as Pillow names them: L, LA, P (indices), RGB, RGBA, CMYK.
        bits: Bits per channel in the file.
        values: Stored values, (H, W) or (H, W, channels); of 16 bits the high bytes.
        low: Low bytes of 16 bits, None for fewer.
        palette: Colours of the indices, (256, 3), None for other modes.
        transparent: Whether a pixel is not opaque.
    """

    place: str
    mode: str
    bits: int
    values: Bytes
    low: Bytes | None
    palette: Bytes | None
    transparent: bool

    def refused(self, expected: str) -> ConditionError:
        """The error for an image of another mode or depth than ``expected``."""
        return ConditionError(self.place, f"mode {self.mode}, {self.bits}-bit", expected)


def read_image(place: str, content: bytes, formats: tuple[str, ...], max_pixels: int) -> StoredImage:
    """Decode an image.

    Pillow ignores a PNG's checksums while decoding, so a bit flipped on disk could silently become another class;
    ``verify`` checks them, but leaves an image that cannot be decoded.

    Args:
        place: Name of the file, for messages.
        content: The file.
        formats: Formats that it may have: PNG, JPEG, WEBP.
        max_pixels: Largest number of pixels.

    Raises:
        ConditionError: If it is damaged, too large, animated, rotated by EXIF or of another format.
    """
    try:
        image = _open(content, formats)
        if image.width * image.height > max_pixels:
            raise ConditionError(place, f"{image.width} x {image.height} pixels", f"at most {max_pixels} pixels")
        if image.format in {"PNG", "WEBP"} and getattr(image, "n_frames", 1) > 1:
            raise ConditionError(place, f"an animation of {image.n_frames} frames", "a single image")  # type: ignore[attr-defined]
        _open(content, formats).verify()
        layout = _layout(image)
        image.load()
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        if orientation not in _UPRIGHT:
            expected = "upright pixels that need no EXIF rotation"
            raise ConditionError(place, f"EXIF orientation {short(str(orientation))}", expected)
        return _stored(place, image, layout, content)
    except _DECODE_ERRORS as error:
        found = f"an unreadable image ({short(str(error))})"
        raise ConditionError(place, found, f"a complete {' or '.join(formats)} image") from error


def label_values(image: StoredImage, valid: Collection[int]) -> tuple[Bytes, list[int]]:
    """Stored values of a label map, and those among them that are not ``valid``.

    Palette images hold labels as indices. Optimisers of PNG files turn grey into a palette or into fewer bits, and then
    the label is the grey that is shown; a file that can be read either way is refused.

    Raises:
        ConditionError: If the image is neither grey nor a palette, or ambiguous.
    """
    values, low = _one_channel(image) if image.mode != "P" else (image.values, image.low)
    if low is not None and values.any():
        found = np.unique((values.astype(np.uint16) << np.uint16(8)) | low)
        return low, [value for value in found.tolist() if value not in valid]
    stored = low if low is not None else values
    used = np.unique(stored)
    shown = _shown_levels(image, used)
    if (
        shown is not None
        and not np.array_equal(shown, used)
        and set(valid).issuperset([*shown.tolist(), *used.tolist()])
    ):
        found_both = f"{image.bits}-bit values {used.tolist()} that are shown as grey {shown.tolist()}"
        raise ConditionError(image.place, found_both, "8-bit grey (mode L), which has one meaning")
    return stored, [value for value in used.tolist() if value not in valid]


def grey_levels(image: StoredImage) -> Bytes:
    """A grey image, (H, W), scaled to 8 bits; RGB with three equal channels is accepted because exporters write it.

    Raises:
        ConditionError: If it has colour, a palette or alpha, or one bit.
    """
    if image.bits == 1 or image.mode == "P":
        raise image.refused("8-bit grey (mode L)")
    values, low = _one_channel(image)
    if low is not None:
        return _high_rounded(image.place, values, low)
    return values * np.uint8(255 // (2**image.bits - 1))


def colours(image: StoredImage) -> Bytes:
    """An RGB image, (H, W, 3), scaled to 8 bits.

    Raises:
        ConditionError: If it is not RGB.
    """
    if image.mode != "RGB":
        raise image.refused("8-bit RGB")
    return image.values if image.low is None else _high_rounded(image.place, image.values, image.low)


def depth_levels(image: StoredImage) -> NDArray[np.uint16]:
    """A grey image, (H, W), in 16 bits as stored; fewer bits are scaled.

    Raises:
        ConditionError: If it is not grey, or has one bit.
    """
    if image.mode != "L" or image.bits == 1:
        raise image.refused("16-bit grey (mode I;16)")
    if image.low is not None:
        return (image.values.astype(np.uint16) << np.uint16(8)) | image.low
    scale = np.uint16(65535 // (2**image.bits - 1))
    return image.values.astype(np.uint16) * scale


def opaque_colours(image: StoredImage) -> Bytes:
    """A photograph, (H, W, 3), scaled to 8 bits; grey is repeated.

    Raises:
        ConditionError: If it is transparent somewhere, where its colours mean nothing, or CMYK, which has no RGB
            without its profile.
    """
    if image.mode not in {"L", "LA", "P", "RGB", "RGBA"}:
        raise image.refused("8-bit RGB or grey")
    if image.transparent:
        raise ConditionError(image.place, f"transparent pixels (mode {image.mode})", "an opaque photograph")
    if image.palette is not None:
        return image.palette[image.values]
    levels = image.values * np.uint8(255 // (2 ** min(image.bits, 8) - 1))
    if image.low is not None:
        levels = _high_rounded(image.place, image.values, image.low)
    if image.mode in {"RGB", "RGBA"}:
        return levels[..., :3]
    return np.repeat((levels if image.mode == "L" else levels[..., 0])[..., None], 3, -1)


def _open(content: bytes, formats: tuple[str, ...]) -> ImageFile:
    """Open an image without decoding its pixels."""
    for name in formats:
        first_bytes, reader = _READERS[name]
        if content.startswith(first_bytes):
            return reader(io.BytesIO(content))
    raise SyntaxError(f"no {' or '.join(formats)} header")


def _layout(image: ImageFile) -> str:
    """How the file stores a pixel, in Pillow's words, as RGB;16B; "" where it can only be 8 bits a channel."""
    return str(image.tile[0].args) if image.format == "PNG" and image.tile else ""


def _stored(place: str, image: ImageFile, layout: str, content: bytes) -> StoredImage:
    bits = 1 if layout == "1" else int((re.findall(r";(\d+)", layout) or ["8"])[0])
    mode = {"1": "L", "I;16": "L"}.get(image.mode, "LA" if layout == "LA;16B" else image.mode)
    values, low = np.asarray(image), None
    if image.mode == "I;16":
        values, low = (values >> 8).astype(np.uint8), values.astype(np.uint8)
    elif layout in _LOW_BYTES:
        values, low = _both_bytes(values, layout, content)
    elif mode == "L" and bits < 8:
        values = values.astype(np.uint8) // np.uint8(1 if bits == 1 else 255 // (2**bits - 1))
    palette = _palette(image) if mode == "P" else None
    key = image.info.get("transparency")
    transparent = _is_transparent(values, low, mode, min(key, 1) if bits == 1 and mode == "L" and key else key)
    return StoredImage(place, mode, bits, values, low, palette, transparent)


def _both_bytes(high: Bytes, layout: str, content: bytes) -> tuple[Bytes, Bytes]:
    """High and low bytes of 16-bit colour; the low ones are decoded as if the file were little-endian."""
    again = _open(content, ("PNG",))
    again.tile = [again.tile[0]._replace(args=_LOW_BYTES[layout])]
    again.load()
    low = np.asarray(again)
    return (low[..., ::2], low[..., 1::2]) if layout == "LA;16B" else (high, low)


def _palette(image: Image.Image) -> Bytes:
    table = np.zeros((256, 3), np.uint8)
    found = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)[:256]
    table[: len(found)] = found
    return table


def _is_transparent(values: Bytes, low: Bytes | None, mode: str, key: Any) -> bool:
    """Whether a pixel is not opaque: by its alpha, its index or, without both, a colour that stands for none."""
    if mode in {"LA", "RGBA"}:
        planes = [values] if low is None else [values, low]
        return any(bool((plane[..., -1] < 255).any()) for plane in planes)
    if key is None:
        return False
    if mode == "P":
        alphas = np.full(256, 255, np.uint8)
        if isinstance(key, bytes):
            alphas[: len(key)] = np.frombuffer(key[:256], np.uint8)
        else:
            alphas[key] = 0
        return bool((alphas[values] < 255).any())
    wanted = np.array(key)
    same = values == wanted if low is None else (values == wanted >> 8) & (low == wanted & 255)
    return bool((same if mode == "L" else same.all(-1)).any())


def _one_channel(image: StoredImage) -> tuple[Bytes, Bytes | None]:
    """The channel of a grey image: high, or only, and low bytes.

    Raises:
        ConditionError: If it has other channels that differ.
    """
    planes = [image.values] if image.low is None else [image.values, image.low]
    if image.mode == "L":
        return image.values, image.low
    if image.mode == "RGB" and all((plane == plane[..., :1]).all() for plane in planes):
        return image.values[..., 0].copy(), None if image.low is None else image.low[..., 0].copy()
    raise image.refused("8-bit grey (mode L)")


def _shown_levels(image: StoredImage, used: Bytes) -> Bytes | None:
    """Grey levels, 8 bits, as which stored values are shown; None where those are colours, or have 16 bits."""
    if image.palette is not None:
        colours_used = image.palette[used]
        return colours_used[:, 0] if (colours_used == colours_used[:, :1]).all() else None
    return used * np.uint8(255 // (2**image.bits - 1)) if image.bits < 8 else None


def _high_rounded(place: str, high: Bytes, low: Bytes) -> Bytes:
    """16 bits as 8, rounded: the value over 257.

    Raises:
        ConditionError: If no value needs more than 8 bits: an 8-bit image in a 16-bit file, which would become black.
    """
    if not high.any() and low.any():
        raise ConditionError(place, f"16-bit values of at most {low.max()}", "values up to 65535, or an 8-bit file")
    difference = low.astype(np.int16) - high
    return high + (difference > 128).astype(np.uint8) - (difference < -128).astype(np.uint8)
