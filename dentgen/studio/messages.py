"""What a browser asks for, checked, and how arrays and texts travel to it."""

from __future__ import annotations

import json
import struct
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from dentgen.errors import SpecError, faults_of
from dentgen.phantom.camera import View
from dentgen.spec.section import Section
from dentgen.studio.relighting import Light
from dentgen.studio.settings import Prompt, Settings
from dentgen.studio.small_builds import MOST, Series
from dentgen.studio.strokes import Stroke

_Share = Annotated[float, Field(ge=0, le=1)]
_Name = Annotated[str, Field(min_length=1, max_length=80)]
_Number = Annotated[int, Field(ge=0, lt=2**53)]


class Ask(Section):
    """Any request; the answer carries its number."""

    id: _Number = 0


class Paint(Ask):
    """Draw a part of a stroke."""

    type: Literal["stroke"]
    stroke: Stroke


class Step(Ask):
    """Undo or redo a gesture."""

    type: Literal["undo", "redo"]


class SetPrompt(Ask):
    """Set the picture's prompt."""

    type: Literal["prompt"]
    prompt: Prompt


class SetSettings(Ask):
    """Set some settings."""

    type: Literal["settings"]
    values: dict[str, Any]

    def changed(self, settings: Settings) -> Settings:
        """The settings with these values.

        Raises:
            SpecError: If one is unknown or out of range.
        """
        try:
            return Settings.model_validate({**settings.model_dump(), **self.values})
        except ValidationError as error:
            raise SpecError(key="settings", found=faults_of(error), expected="values in range") from error


class AddLayer(Ask):
    """Add a layer."""

    type: Literal["add layer"]
    name: Annotated[str, Field(max_length=80)] = ""
    prompt: Prompt = ""


class ChangeLayer(Ask):
    """Change what is given of a layer."""

    type: Literal["change layer"]
    number: _Number
    name: _Name | None = None
    prompt: Prompt | None = None
    negative_prompt: Prompt | None = None
    strength: _Share | None = None
    prompt_strength: _Share | None = None
    blur: Annotated[float, Field(ge=0, le=64)] | None = None
    visible: bool | None = None


class RemoveLayer(Ask):
    """Remove a layer."""

    type: Literal["remove layer"]
    number: _Number


class MoveLayer(Ask):
    """Move a layer among the others."""

    type: Literal["move layer"]
    number: _Number
    by: Literal[-1, 1]


class Relight(Ask):
    """Make the lighting map anew from normals and depth."""

    type: Literal["light"]
    gesture: Annotated[str, Field(min_length=1, max_length=40)]
    light: Light


class ListRecords(Ask):
    """List the records of a place."""

    type: Literal["list"]
    place: Annotated[str, Field(max_length=2000)] = ""


class OpenRecord(Ask):
    """Open a record of a place that was listed."""

    type: Literal["open"]
    place: _Number
    record: _Number


class OpenPhantom(Ask):
    """Render a procedural mouth."""

    type: Literal["phantom"]
    seed: _Number
    view: View = "frontal"


class OpenScan(Ask):
    """Render a view of a jaw scan."""

    type: Literal["scan"]
    place: Annotated[str, Field(min_length=1, max_length=2000)]
    view: View = "frontal"


class OpenEmpty(Ask):
    """Begin with an empty canvas."""

    type: Literal["empty"]


class MakeVariants(Ask):
    """Make pictures side by side, byte for byte those of a build."""

    type: Literal["variants"]


class Save(Ask):
    """Save record, pictures and spec."""

    type: Literal["save"]
    name: Annotated[str, Field(max_length=80)] = ""


class MakeBuild(Ask):
    """Save the document and build a small dataset of it."""

    type: Literal["build"]
    name: Annotated[str, Field(max_length=80)] = ""
    series: Series = "variants"
    count: Annotated[int, Field(ge=2, le=MOST)] = 16


class CopySpec(Ask):
    """The build spec as text."""

    type: Literal["spec"]


class KeepState(Ask):
    """Store the whole document; answers its permanent link."""

    type: Literal["keep"]


class RestoreState(Ask):
    """Restore a stored document."""

    type: Literal["restore"]
    state: Annotated[str, Field(max_length=64)]


Message = (
    Paint | Step | SetPrompt | SetSettings | AddLayer | ChangeLayer | RemoveLayer | MoveLayer | Relight | ListRecords
    | OpenRecord | OpenPhantom | OpenScan | OpenEmpty | MakeVariants | Save | MakeBuild | CopySpec | KeepState
    | RestoreState
)  # fmt: skip
_MESSAGE: Final[TypeAdapter[Message]] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def read_message(text: str) -> Message:
    """Check what a browser sent.

    Raises:
        SpecError: If it is none of these.
    """
    try:
        return _MESSAGE.validate_json(text)
    except ValidationError as error:
        raise SpecError(key="message", found=faults_of(error), expected="a message of the page") from error


def binary(header: dict[str, Any], content: bytes) -> bytes:
    """A message with bytes: length of the header (4 bytes, little endian), header as JSON, content."""
    text = json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + content
