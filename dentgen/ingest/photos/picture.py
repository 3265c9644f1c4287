"""Photographs as they are seen: turned by their EXIF, without it, in RGB."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from dentgen import storage
from dentgen.errors import ConditionError
from dentgen.ingest.photos.annotations import MAX_EDGE

_FORMATS: Final = ("JPEG", "PNG", "WEBP")
#: Largest picture file.
_MAX_BYTES: Final = 256 * 2**20
_UPRIGHT: Final = 1


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A photograph.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, as it is seen.
        stored: Width and height in the file.
        orientation: EXIF orientation of the file, 1 for upright pixels.
    """

    pixels: NDArray[np.uint8]
    stored: tuple[int, int]
    orientation: int

    @property
    def seen(self) -> tuple[int, int]:
        """Width and height as it is seen."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def turned(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A label map (h, w) of the stored pixels as it is seen."""
        image = Image.fromarray(labels)
        exif = image.getexif()
        exif[ExifTags.Base.Orientation] = self.orientation
        turned = ImageOps.exif_transpose(image)
        return np.asarray(turned, np.uint8)


def read_picture(url: str) -> Picture:
    """Read a photograph.

    Raises:
        ConditionError: If it is no complete image, too large, transparent or an animation.
        StorageError: If it cannot be read.
    """
    place = storage.without_secrets(url)
    content = storage.read_range(url, 0, _MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ConditionError(place, f"over {_MAX_BYTES} bytes", f"at most {_MAX_BYTES} bytes")
    try:
        return _decoded(place, content)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        found = f"an unreadable image ({error})"[:200]
        raise ConditionError(place, found, f"a complete image: {', '.join(_FORMATS)}") from error


def _decoded(place: str, content: bytes) -> Picture:
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
        if max(image.size) > MAX_EDGE:
            raise ConditionError(place, f"{image.width} x {image.height} pixels", f"at most {MAX_EDGE} a side")
        if getattr(image, "n_frames", 1) > 1 and image.format not in {"JPEG", "MPO"}:  # phones add a depth picture
            raise ConditionError(place, "an animation", "a single image")
        stored, orientation = image.size, int(image.getexif().get(ExifTags.Base.Orientation, _UPRIGHT) or _UPRIGHT)
        upright: Any = ImageOps.exif_transpose(image)
        if upright.mode in {"RGBA", "LA", "PA"} and upright.convert("RGBA").getextrema()[3][0] < 255:
            raise ConditionError(place, "transparent pixels", "an opaque photograph")
        known = orientation if orientation in range(1, 9) else _UPRIGHT
        if upright.mode.startswith("I"):  # 16 bits, which Pillow would clip
            grey = np.clip(np.round(np.asarray(upright, np.float64) / 257), 0, 255).astype(np.uint8)
            upright = Image.fromarray(grey)
        return Picture(np.asarray(upright.convert("RGB"), np.uint8), stored, known)
