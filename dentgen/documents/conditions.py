"""What a condition record's ``KEY.json`` may say."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
    ValidationInfo,
    model_validator,
)

from dentgen.documents.document import Document
from dentgen.records import ATTRIBUTES
from dentgen.words import as_word, attribute_word, checked_text

_MAX_NAME: Final = 1000
_MAX_PROMPT: Final = 10_000


def _word(value: object, info: ValidationInfo) -> str:
    return attribute_word(info.field_name or "", value)


def _name(value: object) -> object:
    """A text or number as text; anything else is left to pydantic to refuse."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return value
    return checked_text(as_word(value), _MAX_NAME)


def _prompt(value: object) -> object:
    return checked_text(value, _MAX_PROMPT, "\t\n\r") if isinstance(value, str) else value


_Word = Annotated[str, BeforeValidator(_word, json_schema_input_type=str | int | float | bool | None)]
_Name = Annotated[str, BeforeValidator(_name, json_schema_input_type=str | int | float | None)]
_Prompt = Annotated[str, BeforeValidator(_prompt, json_schema_input_type=str | None)]
_TextOnly = Annotated[str, AfterValidator(_prompt)]


class PaintedEntry(Document):
    """What ``KEY.json`` says of a painted region, whose mask is a bit of ``KEY.painted.png``."""

    name: _TextOnly = Field(min_length=1, max_length=_MAX_NAME, description="Its name, unique in the record.")
    prompt: _TextOnly
    negative_prompt: _TextOnly | None = Field(default=None, description="null: the sample's.")
    strength: float = Field(default=1.0, ge=0, le=1, description="Factor on the mask.")
    prompt_strength: float = Field(
        default=1.0, ge=0, le=1, description="Interpolation from the sample's own prompt, 0, to the region's, 1."
    )
    blur: float = Field(default=0.0, ge=0, le=64, description="Gaussian blur of the mask, sigma in pixels.")


FrameNumber = Annotated[int, Field(ge=0, lt=2**31)]


class FrameMetadata(Document):
    """What ``KEY.json`` says of a frame of a series, once it is checked."""

    series: Annotated[_Name, Field(min_length=1)]
    frame: FrameNumber


class ConditionMetadata(BaseModel):
    """Content of a condition record's ``KEY.json``: every field may be missing or null, unknown ones are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    group: _Name = Field(default="", description="Patient or jaw, never divided between splits; the key by default.")
    split: _Name = ""
    prompt: _Prompt = ""
    license: _Name = Field(default="", description="Licence of the record.")
    view: _Word = Field(default="", description="Camera view: frontal, left, right, upper-occlusal, lower-occlusal.")
    arch: _Word = Field(default="", description="Jaws in the picture: upper, lower, both.")
    look: _Word = Field(default="", description="Kind of picture: photo, scan.")
    dentition: _Word = Field(default="", description="permanent, deciduous.")
    shade: _Word = Field(default="", description="Colour of the teeth, a word.")
    gum: _Word = Field(default="", description="Look of the gum, a word.")
    lighting: _Word = Field(
        default="", validation_alias=AliasChoices("lighting", "light"), description="Kind of light, a word."
    )
    missing_teeth: _Word = Field(default="", description="Teeth missing between two that are in the picture.")
    restorations: _Word = Field(default="", description="Teeth in the picture with a filling or crown.")
    caries: _Word = Field(default="", description="Teeth in the picture with decay.")
    braces: _Word = Field(default="", description="A fixed appliance is in the picture: yes, no.")
    plaque: _Word = Field(default="", description="Plaque can be seen: yes, no.")
    stain: _Word = Field(default="", description="Stain can be seen: yes, no.")
    mirrored: _Word = Field(default="", description="Photographed in a mirror, so flipped left to right: yes, no.")
    framing: _Word = Field(default="", description="What is taken in: clinical, close-up, quadrant, smile, face.")
    things: _Word = Field(default="", description="What lies before the teeth, such as: probe, finger, dam.")
    lesions: _Word = Field(default="", description="Visible decay, damage and restorations, such as: caries, cavity.")
    series: SkipValidation[_Name] = Field(
        default="", description="Series of pictures of one mouth that the record is a frame of; checked where series "
        "are used.",
    )  # fmt: skip
    frame: SkipValidation[FrameNumber | None] = Field(
        default=None, description="Number of the frame in its series, from 0; checked where series are used."
    )
    painted: SkipValidation[tuple[PaintedEntry, ...]] = Field(
        default=(), description="Painted regions in the order of the bits of `KEY.painted.png`; checked where they "
        "are used.",
    )  # fmt: skip

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: Any) -> Any:
        """Take null for missing, as most writers of JSON do."""
        return {k: v for k, v in values.items() if v is not None} if isinstance(values, dict) else values

    @property
    def attributes(self) -> dict[str, str]:
        """Attributes that the record has."""
        return {name: value for name in ATTRIBUTES if (value := str(getattr(self, name)))}
