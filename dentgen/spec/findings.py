"""Findings that a build asks for: what, on which teeth or tissue, how often, and how the model is told."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator, model_validator

from dentgen.records import ATTRIBUTES, MAX_PAINTED
from dentgen.spec.section import Section, Word
from dentgen.words import attribute_word

FindingKind = Literal["restoration", "caries", "plaque", "inflammation", "other"]
FindingPart = Literal["whole", "spot", "margin"]
MaterialName = Literal[
    "amalgam filling", "tooth-coloured filling", "ceramic crown", "gold crown", "veneer", "ceramic inlay", "gold inlay"
]  # fmt: skip
DecayName = Literal["white spot", "caries", "cavity"]
TissueName = Literal["gingiva", "tooth", "restoration", "other soft tissue", "lip or skin"]
#: Findings lie at most in a byte, as values of a label map.
MAX_FINDINGS: Final = 254

_PART: Final[dict[FindingKind, FindingPart]] = {
    "restoration": "spot", "caries": "spot", "plaque": "margin", "inflammation": "margin",
    "other": "whole",
}  # fmt: skip
_Share = Annotated[float, Field(ge=0, le=1)]


class FindingSpec(Section):
    """One finding: every sample draws whether it has it, and its metadata says so."""

    kind: FindingKind = Field(
        default="other",
        description="What a judge looks for in the finished image, and how maps are changed; other: any difference, "
        "and not at all.",
    )
    teeth: tuple[int, ...] = Field(
        default=(), description="FDI numbers; each of these teeth draws on its own. Or name a tissue in where."
    )
    where: TissueName | None = Field(default=None, description="Tissue that has the finding, instead of teeth.")
    near: tuple[int, ...] = Field(default=(), description="FDI numbers: only the tissue near these teeth.")
    attributes: dict[str, Word] = Field(default={}, description="Only records with these values of attributes.")
    probability: _Share = Field(default=1.0, description="Share of the samples, or of the teeth, that have it.")
    part: FindingPart | None = Field(
        default=None,
        description="whole: all of the tooth or tissue; spot: an oval in it; margin: a band along the gum, or along "
        "the teeth; null: what is usual for the kind.",
    )
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="Share of the tooth or tissue that a spot or margin takes."
    )
    material: MaterialName = Field(default="amalgam filling", description="Of a restoration, in a findings map.")
    decay: DecayName = Field(default="caries", description="Of caries, in a findings map.")
    edit: bool = Field(
        default=True, description="Whether segmentation and findings maps, and so the labels, show it as well."
    )
    prompt: str | None = Field(
        default=None,
        description="Prompt of the region; {prompt} stands for the sample's own; null: no region, only maps change.",
    )
    negative_prompt: str | None = Field(default=None, description="Its negative prompt; null: the sample's.")
    prompt_strength: _Share = Field(
        default=1.0, description="Interpolation of prompt embeddings from the sample's own prompt, 0, to the region's."
    )
    strength: _Share = Field(
        default=1.0, description="Factor on the region's mask: below 1 it acts only once the noise is below it."
    )
    blur: Annotated[float, Field(ge=0, le=64)] = Field(
        default=0.0, description="Gaussian blur of the region's mask, sigma in pixels: the region grows from its core."
    )
    edge: Literal["discrete", "continuous", "semi-continuous"] = Field(
        default="discrete", description="How the mask is quantised by noise levels."
    )
    start: _Share = Field(default=0.0, description="Fraction of the steps before which the region is off.")
    end: _Share = Field(default=1.0, description="Fraction of the steps after which it is off.")
    missed: Literal["keep", "reject"] = Field(
        default="keep", description="A sample in which the judge does not find it is kept, with a record, or rejected."
    )

    @property
    def usual_part(self) -> FindingPart:
        """The part that the finding takes."""
        return self.part or _PART[self.kind]

    @property
    def lesion(self) -> str | None:
        """Name of its value in a findings map; None if it has none."""
        match self.kind:
            case "restoration":
                return self.material
            case "caries":
                return self.decay
            case "plaque":
                return "plaque" if self.where in (None, "tooth") else None
            case "inflammation":
                return "inflamed gum" if self.where == "gingiva" else None
            case _:
                return None

    def changes(self, used: Collection[str]) -> bool:
        """Whether the model is told of it: by a prompt, or by one of the maps that control the image."""
        maps = {"segmentation"} if self.kind == "restoration" else set[str]()
        maps |= set[str]() if self.lesion is None else {"findings"}
        return self.prompt is not None or (self.edit and bool(maps & set(used)))

    @field_validator("teeth", "near")
    @classmethod
    def _numbers(cls, teeth: tuple[int, ...]) -> tuple[int, ...]:
        for tooth in teeth:
            checked_tooth(tooth)
        if len(set(teeth)) < len(teeth):
            raise ValueError(f"found {list(teeth)}, expected every tooth once")
        return teeth

    @field_validator("attributes")
    @classmethod
    def _known(cls, attributes: dict[str, str]) -> dict[str, str]:
        if unknown := sorted(set(attributes) - set(ATTRIBUTES)):
            raise ValueError(f"found attributes {unknown}, expected some of {list(ATTRIBUTES)}")
        return {name: attribute_word(name, value) for name, value in attributes.items()}

    @model_validator(mode="after")
    def _placed(self) -> FindingSpec:
        if bool(self.teeth) == (self.where is not None):
            raise ValueError("found both or none of teeth and where, expected one of them")
        if self.near and self.where is None:
            raise ValueError("near is read with where")
        if not self.start < self.end:
            raise ValueError(f"start {self.start} must be less than end {self.end}")
        if self.kind in ("restoration", "caries") and self.where not in (None, "tooth", "restoration"):
            raise ValueError(f"where: found {self.where}, expected tooth or restoration, as {self.kind} is of teeth")
        return self


class RegionsSpec(Section):
    """Painted regions, and how regions begin (StreamMultiDiffusion, https://arxiv.org/abs/2403.09055, section 3.2)."""

    painted: Annotated[int, Field(ge=0, le=MAX_PAINTED)] = Field(
        default=0,
        description="Most painted regions that a record may have; records with more are rejected. 0: painted regions "
        "are not read.",
    )
    bootstrap_steps: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="First steps in which a region sees white around it, so that it holds a whole thing."
    )
    mix_steps: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        default=None, description="Steps after which white has given way to the picture; null: at the end of them all."
    )
    leak: Annotated[float, Field(ge=0, le=100)] = Field(
        default=0.0, description="Sensitivity of the test that drops white parts of a region; 0: no test."
    )
    centre: bool = Field(default=False, description="Move regions to the picture's centre in these steps.")


def checked_tooth(number: int) -> int:
    """An FDI number.

    Raises:
        ValueError: If it is none.
    """
    quadrant, tooth = divmod(number, 10)
    if not ((1 <= quadrant <= 4 and 1 <= tooth <= 8) or (5 <= quadrant <= 8 and 1 <= tooth <= 5)):
        raise ValueError(f"found {number}, expected an FDI number: 11 to 48, 51 to 85")
    return number
