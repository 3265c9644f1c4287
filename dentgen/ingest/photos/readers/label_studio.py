"""Label Studio's JSON: polygons in percent of the picture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final
from urllib.parse import unquote

from pydantic import BaseModel, Field, RootModel

from dentgen import storage
from dentgen.errors import ConditionError, DentgenError
from dentgen.ingest.photos.annotations import (
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

#: What uploads put before a file's name.
_UPLOAD: Final = re.compile(r"^[0-9a-f]{8}-")


class _Value(BaseModel):
    points: Ring
    labels: list[Label] = Field(alias="polygonlabels", min_length=1, max_length=20)


class _Result(BaseModel):
    kind: str = Field(alias="type", max_length=60)
    value: Any = None
    width: Edge | None = Field(default=None, alias="original_width")
    height: Edge | None = Field(default=None, alias="original_height")
    rotation: float = Field(default=0, alias="image_rotation", allow_inf_nan=False)


class _Work(BaseModel):
    result: Annotated[list[_Result], Field(max_length=MAX_THINGS)]
    cancelled: bool = Field(default=False, alias="was_cancelled")


class _Task(BaseModel):
    data: dict[str, Any]
    annotations: list[_Work] = Field(default_factory=list, max_length=1000)


class _Tasks(RootModel[list[_Task]]):
    pass


def read_label_studio(place: str, files: Files) -> Iterator[AnnotatedPhoto | Refusal]:
    """Read the tasks of every JSON export of a set; of several annotations of a task the last one counts."""
    for name in files.ending(".json"):
        try:
            tasks = parsed(_Tasks, files.urls[name]).root
        except DentgenError as error:
            yield Refusal(name, error)
            continue
        for number, task in enumerate(tasks):
            try:
                yield _photo(f"{name}: task {number}", task, files)
            except DentgenError as error:
                yield Refusal(f"{name}: task {number}", error)


def _photo(place: str, task: _Task, files: Files) -> AnnotatedPhoto:
    named = next((value for value in task.data.values() if isinstance(value, str)), "")
    last = unquote(named.split("?d=")[-1].split("?")[0]).rsplit("/", 1)[-1]
    picture = files.picture(last, f"images/{last}", _UPLOAD.sub("", last))
    if not last or picture is None:
        raise ConditionError(place, f"the image {named[:200]!r}", "a file of that name in the set")
    done = [work for work in task.annotations if not work.cancelled]
    if not done:
        raise ConditionError(place, "no annotation", "a finished one: what nobody looked at is not background")
    things, skipped, size = [], dict[str, int](), None
    for result in done[-1].result:
        if result.rotation:
            raise ConditionError(place, f"a picture turned by {result.rotation} degrees", "upright pictures")
        if result.kind != "polygonlabels" or result.width is None or result.height is None:
            skipped[result.kind] = skipped.get(result.kind, 0) + 1
            continue
        value, size = parsed(_Value, place, result.value), (result.width, result.height)
        ring = [(x * size[0] / 100, y * size[1] / 100) for x, y in value.points]
        things += [Thing(label, (ring,)) for label in value.labels]
    return AnnotatedPhoto(
        stem_of(storage.name_of(picture)), picture, size, tuple(things), split=split_named_by(named), skipped=skipped
    )
