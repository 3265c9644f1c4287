"""What all sections of specs share: their base, and the types of their values."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from dentgen import storage
from dentgen.errors import StorageError
from dentgen.words import as_word

#: Segmentation classes, by their names in a label map.
ClassName = Literal[
    "background", "gingiva", "tooth", "other soft tissue", "restoration", "appliance", "lip or skin", "instrument",
    "rubber dam",
]  # fmt: skip
#: Numbers and booleans in YAML are taken as text.
Word = Annotated[str, BeforeValidator(as_word)]


def expand_place(place: str) -> str:
    """A place with ``~`` and ``file://`` resolved where the spec is read, so that it is the same in every process.

    Raises:
        ValueError: If it holds a password, or is a ``file://`` URL of another host.
    """
    try:
        storage.require_no_password(place)
        return storage.expanded(place)
    except StorageError as error:
        raise ValueError(f"found {error.found}, expected {error.expected}") from error


#: A path or URL of a spec.
Place = Annotated[str, AfterValidator(expand_place)]


class Section(BaseModel):
    """A section of a spec, or the spec itself: unknown keys, changes, and numbers that are not finite are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
