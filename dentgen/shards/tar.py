"""Deterministic bytes: tar archives (PAX, for ASCII names the same as USTAR), images and canonical JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

#: zlib level of PNG files unless another one is asked for.
PNG_LEVEL: Final = 6
_JSON: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=False, indent=1)
_PIECES: Final = 4096


def tar_bytes(samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> bytes:
    """Archive samples in order: each is a key and its members by extension (without the leading dot)."""
    from webdataset import TarWriter  # imports torch, which commit and verify do not need

    buffer = io.BytesIO()
    with TarWriter(buffer, user="dentgen", group="dentgen", mode=0o644, mtime=0, encoder=False) as writer:
        for key, members in samples:
            writer.write({"__key__": key, **members})
    return buffer.getvalue()


def png_bytes(
    image: NDArray[np.uint8] | NDArray[np.uint16], source_type: str | None = None, level: int = PNG_LEVEL
) -> bytes:
    """Lossless PNG of (H, W) 8 or 16 bit grey or (H, W, 3) RGB.

    Args:
        image: The picture.
        source_type: IPTC digital source type to name in XMP; files carry no other metadata.
        level: zlib level, 0 (none) to 9.
    """
    buffer, text = io.BytesIO(), PngInfo()
    if source_type is not None:
        text.add_itxt("XML:com.adobe.xmp", xmp_packet(source_type).decode())
    Image.fromarray(image).save(buffer, format="PNG", compress_level=level, pnginfo=text)
    return buffer.getvalue()


def image_bytes(image: NDArray[np.uint8], image_format: str, source_type: str, png_level: int = PNG_LEVEL) -> bytes:
    """Encode a picture (H, W, 3) as ``png``, ``jpg`` (quality 95, no chroma subsampling) or lossless ``webp``."""
    if image_format == "png":
        return png_bytes(image, source_type, png_level)
    buffer, xmp = io.BytesIO(), xmp_packet(source_type)
    if image_format == "jpg":
        Image.fromarray(image).save(buffer, format="JPEG", quality=95, subsampling=0, xmp=xmp)
    else:
        Image.fromarray(image).save(buffer, format="WEBP", lossless=True, method=4, xmp=xmp)
    return buffer.getvalue()


def xmp_packet(source_type: str) -> bytes:
    """XMP that holds only the IPTC digital source type (IPTC Photo Metadata, Iptc4xmpExt:DigitalSourceType)."""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'Iptc4xmpExt:DigitalSourceType="{source_type}"/></rdf:RDF></x:xmpmeta>'
    ).encode()


def json_bytes(value: Any) -> bytes:
    """Canonical JSON: sorted keys, UTF-8, a newline at the end.

    Encoded piece by piece: the indices of large builds have millions of them, which together take ten times the text.
    """
    pieces, buffer = _JSON.iterencode(value), io.BytesIO()
    while part := "".join(islice(pieces, _PIECES)):
        buffer.write(part.encode())
    buffer.write(b"\n")
    return buffer.getvalue()
