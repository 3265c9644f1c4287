"""A small reader of photographs with polygons in Supervisely's format: ``ann/NAME.json`` beside ``img/NAME``.

Polygons named "Tooth" are teeth, one each; all others are lesions within teeth.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydantic import BaseModel, Field, ValidationError

from dentgen.conditions.images import opaque_colours, read_image
from dentgen.conditions.labels import IGNORE
from dentgen.errors import ConditionError, found_and_expected
from dentgen.evaluation.photos.labelled_images import Labelled, LabelledImages, fitted, stacked

_TOOTH: Final = "Tooth"
_MAX_BYTES: Final = 64 * 2**20
#: More than cameras have; every polygon is drawn at the picture's own size.
_MAX_EDGE: Final = 10_000
#: Coordinates far beyond would overflow Pillow's integers.
_FARTHEST: Final = 1e6
#: More instances than a mouth has teeth, fewer than a byte holds.
_MAX_TEETH: Final = 200
_MAX_POINTS: Final = 20_000

Coordinate = Annotated[float, Field(ge=-_FARTHEST, le=_FARTHEST, allow_inf_nan=False)]
Point = tuple[Coordinate, Coordinate]


class _Points(BaseModel):
    exterior: list[Point] = Field(max_length=_MAX_POINTS)
    interior: list[Annotated[list[Point], Field(max_length=_MAX_POINTS)]] = Field(default_factory=list, max_length=100)


class _Polygon(BaseModel):
    class_title: str = Field(alias="classTitle", max_length=200)
    kind: Literal["polygon"] = Field(alias="geometryType")
    points: _Points


class _Annotation(BaseModel):
    objects: list[_Polygon] = Field(max_length=1000)


def read_photos(folder: str, size: int) -> LabelledImages:
    """Read all photographs of a folder, padded to squares; padding is ``IGNORE``.

    Args:
        folder: Local folder with ``ann`` and ``img``.
        size: Edge of the images.

    Raises:
        ConditionError: If an annotation has no image, or one of the two is damaged.
    """
    annotations = sorted((Path(folder) / "ann").glob("*.json"))
    images = Path(folder) / "img"
    found = stacked([_photo(file, images / file.name.removesuffix(".json"), size) for file in annotations], folder)
    if not found.instances.any():
        raise ConditionError(folder, "no polygon named 'Tooth'", "teeth under that name; all other names are lesions")
    return found


def _photo(annotation: Path, image: Path, size: int) -> Labelled:
    if not image.is_file():
        raise ConditionError(str(annotation), "no image of that name", f"the file {image}")
    pixels = opaque_colours(read_image(str(image), _content(image), ("JPEG", "PNG", "WEBP"), _MAX_EDGE**2))
    if max(pixels.shape) > _MAX_EDGE:
        raise ConditionError(str(image), f"{pixels.shape[1]} x {pixels.shape[0]} pixels", f"at most {_MAX_EDGE} a side")
    polygons = _polygons(annotation)
    shape = pixels.shape[:2]
    instances = np.zeros(shape, np.uint8)
    lesion = np.zeros(shape, np.uint8)
    number = 0
    for polygon in polygons:
        mask = _filled(polygon.points, shape)
        if polygon.class_title == _TOOTH:
            number += 1
            instances[mask] = number
        else:
            lesion[mask] = 1
    tooth = ((instances > 0) | (lesion > 0)).astype(np.uint8)
    unknown = np.full(shape, IGNORE, np.uint8)
    return fitted((annotation.stem, pixels, tooth, instances, lesion, unknown), size)


def _polygons(file: Path) -> list[_Polygon]:
    try:
        polygons = _Annotation.model_validate_json(_content(file)).objects
    except ValidationError as error:
        first = error.errors()[0]
        message, found, expected = found_and_expected(first)
        place = ".".join(map(str, first["loc"]))
        raise ConditionError(str(file), f"{place}: {found}"[:200], expected or message) from error
    teeth = sum(polygon.class_title == _TOOTH for polygon in polygons)
    if teeth > _MAX_TEETH:
        raise ConditionError(str(file), f"{teeth} teeth", f"at most {_MAX_TEETH}")
    return polygons


def _content(file: Path) -> bytes:
    with file.open("rb") as stream:
        content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ConditionError(str(file), f"over {_MAX_BYTES} bytes", f"at most {_MAX_BYTES} bytes")
    return content


def _filled(points: _Points, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Mask (H, W) of a polygon without its holes."""
    image = Image.new("1", (shape[1], shape[0]))
    draw = ImageDraw.Draw(image)
    for ring, value in ((points.exterior, 1), *((hole, 0) for hole in points.interior)):
        if len(ring) >= 3:
            draw.polygon(ring, fill=value)
    return np.asarray(image)
