"""Supervisely: ``ann/NAME.json`` beside ``img/NAME``, with polygons and bitmaps."""

from __future__ import annotations

import base64
import binascii
import io
import zlib
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, Field

from dentgen.errors import ConditionError, DentgenError
from dentgen.ingest.photos.annotations import (
    MAX_EDGE,
    MAX_THINGS,
    AnnotatedPhoto,
    Edge,
    Files,
    Label,
    Refusal,
    Ring,
    Thing,
    parsed,
    split_named_by,
    stem_of,
)

#: Pixels of the largest bitmap, decompressed.
_MAX_BYTES = MAX_EDGE * MAX_EDGE


class _Points(BaseModel):
    exterior: Ring
    interior: list[Ring] = Field(default_factory=list, max_length=100)


class _Bitmap(BaseModel):
    data: str
    origin: tuple[int, int]


class _Object(BaseModel):
    label: Label = Field(alias="classTitle")
    kind: str = Field(alias="geometryType", max_length=40)
    points: Any = None
    bitmap: Any = None


class _Size(BaseModel):
    width: Edge
    height: Edge


class _Annotation(BaseModel):
    size: _Size | None = None
    objects: Annotated[list[_Object], Field(max_length=MAX_THINGS)]


def read_supervisely(place: str, files: Files) -> Iterator[AnnotatedPhoto | Refusal]:
    """Read all annotations of a set."""
    for name in files.ending(".json"):
        folder, _, last = name.rpartition("/")
        if folder.rsplit("/", 1)[-1] == "ann":
            try:
                yield _photo(name, folder.removesuffix("ann"), last.removesuffix(".json"), files)
            except DentgenError as error:
                yield Refusal(name, error)


def _photo(name: str, above: str, image: str, files: Files) -> AnnotatedPhoto:
    annotation = parsed(_Annotation, files.urls[name])
    picture = files.urls.get(f"{above}img/{image}")
    if picture is None:
        raise ConditionError(name, "no image of that name", f"the file {above}img/{image}")
    size = None if annotation.size is None else (annotation.size.width, annotation.size.height)
    things, skipped = [], dict[str, int]()
    for one in annotation.objects:
        match one.kind:
            case "polygon":
                points = parsed(_Points, files.urls[name], one.points)
                things.append(Thing(one.label, (points.exterior,), tuple(points.interior)))
            case "bitmap" if size is not None:
                bitmap = parsed(_Bitmap, files.urls[name], one.bitmap)
                things.append(Thing(one.label, mask=_mask(name, bitmap, size)))
            case _:
                skipped[one.kind] = skipped.get(one.kind, 0) + 1
    return AnnotatedPhoto(stem_of(f"{above}{image}"), picture, size, tuple(things), split=split_named_by(name),
                          skipped=skipped)  # fmt: skip


def _mask(place: str, bitmap: _Bitmap, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask (H, W) of a compressed PNG that begins at an origin."""
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(base64.b64decode(bitmap.data, validate=True), _MAX_BYTES)
        image = Image.open(io.BytesIO(content), formats=["PNG"])
        if max(image.size) > MAX_EDGE:
            raise ConditionError(place, f"a bitmap of {image.width} x {image.height}", f"at most {MAX_EDGE} a side")
        has_alpha = image.mode in {"RGBA", "LA"} or "transparency" in image.info
        values = np.asarray(image.convert("RGBA"))[..., 3] > 0 if has_alpha else np.asarray(image) > 0
    except (zlib.error, binascii.Error, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ConditionError(place, f"an unreadable bitmap ({error})"[:200], "zlib of a PNG in base64") from error
    left, top = bitmap.origin
    mask = np.zeros((size[1], size[0]), bool)
    height, width = values.shape[:2]
    if not (left >= 0 and top >= 0 and left + width <= size[0] and top + height <= size[1]):
        raise ConditionError(place, f"a bitmap at {bitmap.origin} of {width} x {height}", f"one within {size}")
    mask[top : top + height, left : left + width] = values if values.ndim == 2 else values.any(-1)
    return mask
