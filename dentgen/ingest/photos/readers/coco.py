"""COCO instances: polygons and run lengths, and DENTEX's three category ids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from dentgen.errors import ConditionError, DentgenError
from dentgen.ingest.photos.annotations import (
    MAX_EDGE,
    MAX_POINTS,
    MAX_THINGS,
    AnnotatedPhoto,
    Coordinate,
    Edge,
    Files,
    Label,
    Refusal,
    Thing,
    parsed,
    split_named_by,
    stem_of,
)

_Flat = Annotated[list[Coordinate], Field(min_length=6, max_length=2 * MAX_POINTS)]
_Counts = Annotated[list[Annotated[int, Field(ge=0, le=MAX_EDGE * MAX_EDGE)]], Field(max_length=1_000_000)]
#: Bits of the longest run.
_MOST_BITS: Final = 40
#: What DENTEX calls its three kinds of category: quadrant, number in the quadrant, diagnosis.
_LEVELS: Final = (1, 2, 3)


class _Runs(BaseModel):
    size: tuple[Edge, Edge]
    counts: str | _Counts


class _Image(BaseModel):
    id: int
    file_name: str = Field(max_length=1000)
    width: Edge
    height: Edge


class _Category(BaseModel):
    id: int
    name: Label


class _Annotation(BaseModel):
    image_id: int
    category_id: int | None = None
    category_id_1: int | None = None
    category_id_2: int | None = None
    category_id_3: int | None = None
    segmentation: Any = None


class _Coco(BaseModel):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category] = Field(default_factory=list)
    categories_1: list[_Category] = Field(default_factory=list)
    categories_2: list[_Category] = Field(default_factory=list)
    categories_3: list[_Category] = Field(default_factory=list)


def read_coco(place: str, files: Files) -> Iterator[AnnotatedPhoto | Refusal]:
    """Read the photographs of every COCO file of a set."""
    for name in files.ending(".json"):
        try:
            content = parsed(_Coco, files.urls[name])
        except DentgenError as error:
            yield Refusal(name, error)
            continue
        yield from _photos(name, content, files)


def _photos(file: str, content: _Coco, files: Files) -> Iterator[AnnotatedPhoto | Refusal]:
    for kind, ids in _identifiers(content).items():
        if len(set(ids)) < len(ids):
            yield Refusal(file, ConditionError(file, f"{kind} that share an id", "an id for each"))
            return
    of_image: dict[int, list[_Annotation]] = defaultdict(list)
    for annotation in content.annotations:
        of_image[annotation.image_id].append(annotation)
    unknown = sorted(of_image.keys() - {image.id for image in content.images})
    if unknown:
        count = sum(len(of_image[number]) for number in unknown)
        found = f"{count} annotations of images {unknown[:5]}"
        yield Refusal(file, ConditionError(file, found, "images that the file lists"))
    for image in content.images:
        try:
            yield _photo(file, image, of_image[image.id], _names(content), files)
        except DentgenError as error:
            yield Refusal(image.file_name[:200], error)


def _identifiers(content: _Coco) -> dict[str, list[int]]:
    categories = (content.categories, content.categories_1, content.categories_2, content.categories_3)
    found = {f"categories of level {level}": [each.id for each in listed] for level, listed in enumerate(categories)}
    return {"images": [image.id for image in content.images], **found}


_Names = Mapping[int, Mapping[int, str]]


def _names(content: _Coco) -> _Names:
    """Names of the categories, by level; level 0 is that of plain COCO files."""
    levels = (content.categories, content.categories_1, content.categories_2, content.categories_3)
    return {level: {category.id: category.name for category in each} for level, each in enumerate(levels)}


def _photo(file: str, image: _Image, annotations: list[_Annotation], names: _Names, files: Files) -> AnnotatedPhoto:
    above, split = file.rpartition("/")[0], split_named_by(f"{image.file_name}")
    picture = files.picture(image.file_name, f"{above}/{image.file_name}", f"images/{image.file_name}")
    if picture is None:
        raise ConditionError(file, f"the image {image.file_name[:200]!r}", "a file of that name in the set")
    if len(annotations) > MAX_THINGS:
        raise ConditionError(file, f"{len(annotations)} annotations of one image", f"at most {MAX_THINGS}")
    things, skipped = [], dict[str, int]()
    for annotation in annotations:
        if not annotation.segmentation:
            skipped["annotation without a segmentation"] = skipped.get("annotation without a segmentation", 0) + 1
            continue
        rings, mask = _area(file, annotation, image)
        things += [Thing(label, rings, (), mask) for label in _labels(file, annotation, names)]
    split = split or split_named_by(f"{file}") or _split_in(file)
    return AnnotatedPhoto(stem_of(image.file_name), picture, (image.width, image.height), tuple(things), split=split,
                          skipped=skipped)  # fmt: skip


def _split_in(file: str) -> str:
    """Split that a file's own name ends with, as ``instances_train.json`` does."""
    return split_named_by(f"{stem_of(file).rsplit('_', 1)[-1]}/x")


def _labels(file: str, annotation: _Annotation, names: _Names) -> list[str]:
    """Names of an annotation's category; of DENTEX's the tooth's number and the diagnosis."""
    ids = {1: annotation.category_id_1, 2: annotation.category_id_2, 3: annotation.category_id_3}
    if annotation.category_id is not None:
        return [_name(file, 0, annotation.category_id, names)]
    known = {level: _name(file, level, ids[level], names) for level in _LEVELS if ids[level] is not None}
    number = [f"{known[1]}{known[2]}"] if 1 in known and 2 in known else []
    found = number + ([known[3]] if 3 in known else [])
    if not found:
        raise ConditionError(file, "an annotation without a category", "category_id")
    return found


def _name(file: str, level: int, number: int | None, names: _Names) -> str:
    if number is None or number not in names[level]:
        raise ConditionError(file, f"the category {number}", f"one of {sorted(names[level])[:20]}")
    return names[level][number]


def _area(
    file: str, annotation: _Annotation, image: _Image
) -> tuple[tuple[list[tuple[float, float]], ...], NDArray[np.bool_] | None]:
    if isinstance(annotation.segmentation, list):
        flat = [parsed(_Part, file, {"points": part}).points for part in annotation.segmentation[:1000]]
        return tuple(list(zip(part[0::2], part[1::2], strict=False)) for part in flat), None
    runs = parsed(_Runs, file, annotation.segmentation)
    if tuple(runs.size) != (image.height, image.width):
        raise ConditionError(file, f"run lengths of {list(runs.size)}", f"the image's {[image.height, image.width]}")
    return (), _decoded(file, runs)


class _Part(BaseModel):
    points: _Flat


def _decoded(file: str, runs: _Runs) -> NDArray[np.bool_]:
    """Mask (H, W) of run lengths, column by column."""
    height, width = runs.size
    try:
        counts = runs.counts if isinstance(runs.counts, list) else _lengths(runs.counts)
    except ValueError as error:
        raise ConditionError(file, f"damaged run lengths: {error}", "COCO's run lengths") from error
    if sum(counts) != height * width:
        raise ConditionError(file, f"run lengths that sum to {sum(counts)}", str(height * width))
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return values.reshape(width, height).T


def _lengths(text: str) -> list[int]:
    """Run lengths of COCO's compressed text (base 48 digits of 5 bits, differences to the last but one).

    Raises:
        ValueError: If the text is damaged.
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        digit = ord(letter) - 48
        if not 0 <= digit < 64:
            raise ValueError(f"the letter {letter!r}")
        if shift > _MOST_BITS:
            raise ValueError("a length without an end")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        if counts[-1] < 0 or len(counts) > MAX_EDGE * MAX_EDGE:
            raise ValueError(f"a length of {counts[-1]}")
        value = shift = 0
    return counts
