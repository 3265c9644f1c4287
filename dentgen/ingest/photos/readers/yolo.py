"""YOLO outlines: ``labels/…/NAME.txt`` for ``images/…/NAME.*``, classes named by a YAML file."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, Field

from dentgen.errors import ConditionError, DentgenError
from dentgen.ingest.photos.annotations import (
    IMAGE_ENDINGS,
    MAX_POINTS,
    MAX_THINGS,
    AnnotatedPhoto,
    Files,
    Label,
    Polygon,
    Refusal,
    Thing,
    content_of,
    split_named_by,
    stem_of,
)
from dentgen.spec.yaml_file import parse_yaml


class _Data(BaseModel):
    names: dict[int, Label] | list[Label] = Field(max_length=10_000)


def read_yolo(place: str, files: Files) -> Iterator[AnnotatedPhoto | Refusal]:
    """Read the labels of a set; classes without a name go by their number."""
    try:
        names = _names(files)
    except DentgenError as error:
        yield Refusal("data.yaml", error)
        return
    for name in files.ending(".txt"):
        parts = name.split("/")
        if "labels" not in parts[:-1]:
            continue
        try:
            yield _photo(name, files, names)
        except DentgenError as error:
            yield Refusal(name, error)


def _names(files: Files) -> dict[int, str]:
    found = [name for name in files.ending(".yaml", ".yml") if "/" not in name]
    for name in found:
        values = parse_yaml(name, content_of(files.urls[name]).decode(errors="replace"))
        if isinstance(values, dict) and "kpt_shape" in values:
            raise ConditionError(name, "kpt_shape: lines with keypoints", "outlines")
        if isinstance(values, dict) and "names" in values:
            try:
                listed = _Data.model_validate({"names": values["names"]}).names
            except ValueError as error:
                raise ConditionError(name, "names of another form", "a list, or numbers and names") from error
            return dict(enumerate(listed)) if isinstance(listed, list) else dict(listed)
    return {}


def _photo(name: str, files: Files, names: dict[int, str]) -> AnnotatedPhoto:
    beside = stem_of(name).split("/")
    place = len(beside) - 1 - beside[::-1].index("labels")
    beside[place] = "images"
    stem = "/".join(beside)
    picture = files.picture(*(f"{stem}{ending}" for ending in IMAGE_ENDINGS))
    if picture is None:
        raise ConditionError(name, "no image of that name", f"{stem}.jpg or another image")
    lines = content_of(files.urls[name]).decode("ascii", errors="replace").splitlines()
    if len(lines) > MAX_THINGS:
        raise ConditionError(name, f"{len(lines)} lines", f"at most {MAX_THINGS}")
    things, boxes = [], 0
    for number, line in enumerate(lines, 1):
        words = line.split()
        if len(words) == 5:
            boxes += 1
        elif words:
            label, ring = _line(f"{name}:{number}", words)
            if names and label not in names:
                raise ConditionError(f"{name}:{number}", f"class {label}", f"one of {sorted(names)[:20]}")
            things.append(Thing(names.get(label, str(label)), (ring,)))
    skipped = {"box": boxes} if boxes else {}
    return AnnotatedPhoto(stem, picture, None, tuple(things), shares=True, split=split_named_by(name), skipped=skipped)


def _line(place: str, words: list[str]) -> tuple[int, Polygon]:
    """Class and outline of one line."""
    try:
        label, values = int(words[0]), [float(word) for word in words[1:]]
    except ValueError as error:
        raise ConditionError(place, f"{error}"[:200], "a class and shares of width and height") from error
    if len(values) % 2 or len(values) < 6 or len(values) > 2 * MAX_POINTS or label < 0:
        raise ConditionError(place, f"class {label} with {len(values)} values", "three or more points x y")
    if not all(-1 <= value <= 2 for value in values):
        raise ConditionError(place, "a coordinate far off the picture", "shares of width and height, 0 to 1")
    return label, list(zip(values[0::2], values[1::2], strict=True))
