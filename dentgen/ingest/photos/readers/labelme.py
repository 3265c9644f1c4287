"""LabelMe: ``NAME.json`` beside the picture, with polygons, rectangles and circles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, Field

from dentgen.errors import ConditionError, DentgenError
from dentgen.ingest.photos.annotations import (
    MAX_THINGS,
    AnnotatedPhoto,
    Edge,
    Files,
    Label,
    Polygon,
    Refusal,
    Ring,
    Thing,
    parsed,
    split_named_by,
    stem_of,
)

_CIRCLE_POINTS = 64


class _Shape(BaseModel):
    label: Label
    points: Ring
    kind: str = Field(default="polygon", alias="shape_type", max_length=40)


class _LabelMe(BaseModel):
    shapes: Annotated[list[_Shape], Field(max_length=MAX_THINGS)]
    image: str = Field(alias="imagePath", max_length=1000)
    width: Edge = Field(alias="imageWidth")
    height: Edge = Field(alias="imageHeight")


def read_labelme(place: str, files: Files) -> Iterator[AnnotatedPhoto | Refusal]:
    """Read all annotations of a set; pictures inside the JSON are ignored, those beside it are read."""
    for name in files.ending(".json"):
        try:
            yield _photo(name, files)
        except DentgenError as error:
            yield Refusal(name, error)


def _photo(name: str, files: Files) -> AnnotatedPhoto:
    content = parsed(_LabelMe, files.urls[name])
    above = name.rpartition("/")[0]
    last = content.image.replace("\\", "/").rsplit("/", 1)[-1]
    picture = files.picture(f"{above}/{last}" if above else last, last)
    if picture is None:
        raise ConditionError(name, f"the image {content.image[:200]!r}", "a file of that name in the set")
    things, skipped = [], dict[str, int]()
    for shape in content.shapes:
        ring = _ring(shape)
        if ring is None:
            skipped[shape.kind] = skipped.get(shape.kind, 0) + 1
        else:
            things.append(Thing(shape.label, (ring,)))
    return AnnotatedPhoto(stem_of(name), picture, (content.width, content.height), tuple(things),
                          split=split_named_by(name), skipped=skipped)  # fmt: skip


def _ring(shape: _Shape) -> Polygon | None:
    """Outline of a shape; None for points, lines and boxes, which are no areas of teeth."""
    match shape.kind:
        case "polygon" if len(shape.points) >= 3:
            return shape.points
        case "circle" if len(shape.points) == 2:
            (x, y), edge = shape.points
            radius, turns = math.dist((x, y), edge), [2 * math.pi * n / _CIRCLE_POINTS for n in range(_CIRCLE_POINTS)]
            return [(x + radius * math.cos(turn), y + radius * math.sin(turn)) for turn in turns]
        case _:
            return None
