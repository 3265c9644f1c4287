"""Deterministic tar bytes: the same members always give the same archive.

USTAR, mtime 0, one owner, members sorted within a sample. Holds encoding of members too (PNG, JSON), because bytes are
what it promises. Refuses to know where the archive goes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from webdataset import TarWriter

PNG_LEVEL = 6


def tar_bytes(samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> bytes:
    """Archive samples in order: each is a key and its members by extension (without the leading dot)."""
    buffer = io.BytesIO()
    with TarWriter(buffer, user="dentgen", group="dentgen", mode=0o644, mtime=0, encoder=False) as writer:
        for key, members in samples:
            writer.write({"__key__": key, **members})
    return buffer.getvalue()


def png_bytes(image: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Lossless PNG of (H, W) 8 or 16 bit grey or (H, W, 3) RGB, without metadata."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()


def image_bytes(image: NDArray[np.uint8], image_format: str) -> bytes:
    """Encode a picture (H, W, 3) as ``png``, ``jpg`` (quality 95, no chroma subsampling) or lossless ``webp``."""
    if image_format == "png":
        return png_bytes(image)
    buffer = io.BytesIO()
    if image_format == "jpg":
        Image.fromarray(image).save(buffer, format="JPEG", quality=95, subsampling=0)
    else:
        Image.fromarray(image).save(buffer, format="WEBP", lossless=True, method=4)
    return buffer.getvalue()


def json_bytes(value: Any) -> bytes:
    """Canonical JSON: sorted keys, UTF-8, a newline at the end."""
    return (json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode()
