"""CVAT for images 1.1: one XML file with polygons and masks; needs defusedxml (extra ``formats``)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from dentgen.errors import ConditionError, DentgenError, SpecError
from dentgen.ingest.photos.annotations import (
    MAX_THINGS,
    AnnotatedPhoto,
    Edge,
    Files,
    Label,
    Refusal,
    Ring,
    Thing,
    content_of,
    parsed,
    split_named_by,
    stem_of,
)


class _Image(BaseModel):
    name: str
    width: Edge
    height: Edge


class _Shape(BaseModel):
    label: Label
    points: Ring


class _Mask(BaseModel):
    label: Label
    rle: list[int]
    left: int
    top: int
    width: Edge
    height: Edge


def read_cvat(place: str, files: Files) -> Iterator[AnnotatedPhoto | Refusal]:
    """Read the photographs of every XML file of a set."""
    for name in files.ending(".xml"):
        try:
            root = _root(name, content_of(files.urls[name]))
        except DentgenError as error:
            yield Refusal(name, error)
            continue
        for element in root.iter("image"):
            try:
                yield _photo(name, element, files)
            except DentgenError as error:
                yield Refusal(str(element.get("name", name))[:200], error)


def _root(name: str, content: bytes) -> Element:
    """The document, without entities: they could fill the memory or read files.

    Raises:
        ConditionError: If it is no XML, or has entities.
        SpecError: If defusedxml is not installed.
    """
    try:
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import fromstring
    except ImportError as error:
        expected = "defusedxml: pip install 'dentgen[formats]'"
        raise SpecError(file=name, found="no reader of XML", expected=expected) from error
    try:
        root: Element = fromstring(content)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise ConditionError(name, f"unreadable XML ({type(error).__name__}: {error})"[:200], "CVAT's XML") from error
    return root


def _photo(file: str, element: Element, files: Files) -> AnnotatedPhoto:
    image = parsed(_Image, file, dict(element.attrib))
    picture = files.picture(image.name, f"images/{image.name}")
    if picture is None:
        raise ConditionError(file, f"the image {image.name[:200]!r}", "a file of that name in the set")
    things, skipped = [], dict[str, int]()
    shapes = sorted(element, key=lambda shape: _order(shape.get("z_order", "0")))[: MAX_THINGS + 1]
    if len(shapes) > MAX_THINGS:
        raise ConditionError(file, f"over {MAX_THINGS} shapes of {image.name[:80]!r}", f"at most {MAX_THINGS}")
    for shape in shapes:
        match shape.tag:
            case "polygon":
                values: dict[str, Any] = {"label": shape.get("label"), "points": _points(shape.get("points", ""))}
                polygon = parsed(_Shape, file, values)
                things.append(Thing(polygon.label, (polygon.points,)))
            case "mask":
                things.append(_mask(file, shape, image))
            case tag:
                skipped[tag] = skipped.get(tag, 0) + 1
    split = split_named_by(image.name) or split_named_by(f"{element.get('subset', '')[:40]}/x")
    return AnnotatedPhoto(stem_of(image.name), picture, (image.width, image.height), tuple(things), split=split,
                          skipped=skipped)  # fmt: skip


def _order(text: str) -> int:
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else 0


def _points(text: str) -> list[list[str]]:
    """Coordinates as texts, which the document's form checks."""
    return [pair.split(",") for pair in text.split(";") if pair]


def _mask(file: str, shape: Element, image: _Image) -> Thing:
    """A mask of run lengths, row by row, zeros first, in its own rectangle."""
    runs = parsed(_Mask, file, {**shape.attrib, "rle": [run for run in shape.get("rle", "").split(",") if run.strip()]})
    if min(runs.rle, default=-1) < 0 or sum(runs.rle) != runs.width * runs.height:
        raise ConditionError(file, f"run lengths that sum to {sum(runs.rle)}", str(runs.width * runs.height))
    values = np.repeat(np.arange(len(runs.rle)) % 2 == 1, runs.rle).reshape(runs.height, runs.width)
    whole: NDArray[np.bool_] = np.zeros((image.height, image.width), bool)
    if runs.left < 0 or runs.top < 0 or runs.left + runs.width > image.width or runs.top + runs.height > image.height:
        raise ConditionError(file, f"a mask at {runs.left}, {runs.top}", "one within its picture")
    whole[runs.top : runs.top + runs.height, runs.left : runs.left + runs.width] = values
    return Thing(runs.label, mask=whole)
