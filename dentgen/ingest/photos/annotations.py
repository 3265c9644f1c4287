"""What every annotation format says of a photograph: named areas, as polygons or masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from dentgen import storage
from dentgen.errors import ConditionError, DentgenError, found_and_expected

#: Coordinates far beyond would overflow the integers of what draws polygons.
_FARTHEST: Final = 1e6
MAX_POINTS: Final = 20_000
MAX_THINGS: Final = 2_000
#: Largest annotation file: a COCO file of a hundred thousand photographs, or an export of one photograph.
MAX_BYTES: Final = 512 * 2**20
MAX_EDGE: Final = 10_000

Coordinate = Annotated[float, Field(ge=-_FARTHEST, le=_FARTHEST, allow_inf_nan=False)]
Point = tuple[Coordinate, Coordinate]
Ring = Annotated[list[Point], Field(max_length=MAX_POINTS)]
Label = Annotated[str, Field(max_length=200)]
Edge = Annotated[int, Field(ge=1, le=MAX_EDGE)]
_Document = TypeVar("_Document", bound=BaseModel)

Polygon = list[tuple[float, float]]


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """One annotated area.

    Attributes:
        label: Its name in the annotation.
        rings: Outer outlines: points (x, y) in pixels of the annotated picture.
        holes: Outlines of what is left out.
        mask: (H, W) bool instead of outlines, or None.
    """

    label: str
    rings: tuple[Polygon, ...] = ()
    holes: tuple[Polygon, ...] = ()
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedPhoto:
    """A photograph with its annotations.

    Attributes:
        name: Name of the picture in its set, with folders, without an extension.
        image: URL of the picture.
        size: Width and height that the annotation states; None if it does not, or counts in shares of the edges.
        things: All areas, in drawing order: later ones lie over earlier ones.
        shares: Whether coordinates are shares of width and height.
        split: Split that the set's folders name, "" for none.
        skipped: Annotations without an area, such as boxes and keypoints, by kind.
    """

    name: str
    image: str
    size: tuple[int, int] | None
    things: tuple[Thing, ...]
    shares: bool = False
    split: str = ""
    skipped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An annotation file or a photograph that cannot be used: its name, and the error that says why."""

    name: str
    error: DentgenError

    @property
    def reason(self) -> str:
        """The error as text."""
        return str(self.error)


Reader = Callable[[str, "Files"], Iterator[AnnotatedPhoto | Refusal]]


@dataclass(frozen=True, slots=True)
class Files:
    """All files of a set.

    Attributes:
        urls: URL by name relative to the set.
        by_last: Names by their last segment.
    """

    urls: dict[str, str]
    by_last: dict[str, list[str]]

    @staticmethod
    def under(place: str) -> Files:
        """List a folder or URL.

        Raises:
            StorageError: If it cannot be listed.
        """
        found = {storage.relative_name(place, file.url): file.url for file in storage.list_files(place)}
        by_last: dict[str, list[str]] = {}
        for name in sorted(found):
            by_last.setdefault(name.rsplit("/", 1)[-1], []).append(name)
        return Files(dict(sorted(found.items())), by_last)

    def ending(self, *suffixes: str) -> list[str]:
        """Names with one of the endings, in order."""
        return [name for name in self.urls if name.lower().endswith(suffixes)]

    def picture(self, *candidates: str) -> str | None:
        """URL of the first candidate that is there.

        A candidate without folders may be in any folder, if only one file has its name: names with folders must fit
        as a whole, or one patient's annotation would lie on another's picture.
        """
        for candidate in candidates:
            if candidate in self.urls:
                return self.urls[candidate]
        for candidate in candidates:
            found = self.by_last.get(candidate, ())
            if len(found) == 1:
                return self.urls[found[0]]
        return None


IMAGE_ENDINGS: Final = (".jpg", ".jpeg", ".png", ".webp")


def content_of(url: str) -> bytes:
    """A file's content.

    Raises:
        ConditionError: If it is larger than any annotation file.
        StorageError: If it cannot be read.
    """
    content = storage.read_range(url, 0, MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ConditionError(storage.without_secrets(url), f"over {MAX_BYTES} bytes", f"at most {MAX_BYTES} bytes")
    return content


def parsed(kind: type[_Document], url: str, values: Any = None) -> _Document:
    """A JSON file, or parsed values of it, as a document of one kind.

    Raises:
        ConditionError: If it is no JSON, or has another form; names the file, the key, what was found and expected.
    """
    place = storage.without_secrets(url)
    try:
        return kind.model_validate_json(content_of(url)) if values is None else kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        message, found, expected = found_and_expected(first)
        key = ".".join(map(str, first["loc"]))
        raise ConditionError(place, f"{key}: {found}"[:200], expected or message) from error


def stem_of(name: str) -> str:
    """A file's name without its extension."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.rsplit('.', 1)[0]}"


_SPLITS: Final = {"train": "train", "training": "train", "val": "validation", "valid": "validation",
                  "validation": "validation", "test": "test", "testing": "test"}  # fmt: skip


def split_named_by(name: str) -> str:
    """Split that one of a name's folders names, "" for none."""
    for part in name.lower().split("/")[:-1]:
        if part in _SPLITS:
            return _SPLITS[part]
    return ""
