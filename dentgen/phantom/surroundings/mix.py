"""What a varied set shows how often: framings, things before the mouth, diseased teeth and faults of cameras."""

from __future__ import annotations

from math import inf
from typing import Annotated, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dentgen.spec.yaml_file import read_values, validate_document

Framing = Literal["clinical", "close-up", "quadrant", "smile", "face"]
FRAMINGS: Final[tuple[Framing, ...]] = get_args(Framing)
Prop = Literal["probe", "mirror", "suction", "finger", "cotton"]
PROPS: Final[tuple[Prop, ...]] = get_args(Prop)

Share = Annotated[float, Field(ge=0, le=1)]


class Mix(BaseModel):
    """Weights and shares from which the world around every mouth is drawn.

    Weights need not sum to one; a share is the probability with which something is drawn.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    framings: dict[Framing, Annotated[float, Field(ge=0)]] = Field(
        default={"clinical": 0.14, "close-up": 0.44, "quadrant": 0.08, "smile": 0.2, "face": 0.14},
        description="Weight of every framing. Occlusal views have no smiles and faces.",
    )
    props: dict[Prop, Share] = Field(
        default={"probe": 0.07, "mirror": 0.05, "suction": 0.05, "finger": 0.09, "cotton": 0.04},
        description="Share of pictures with each thing before the teeth; never in smiles and faces.",
    )
    dam: Share = Field(default=0.2, description="Share of occlusal close-ups under rubber dam.")
    mirrored: Share = Field(default=0.5, description="Share of occlusal views that are taken in a mirror.")
    edges: Share = Field(
        default=0.5,
        description="Share of those in clinical framing that show the mirror's edge and beyond it the mouth itself.",
    )
    wide: Share = Field(
        default=0.5, description="Share of close-ups and quadrants from a side that look at one jaw of an open mouth."
    )
    lips: Share = Field(default=0.45, description="Share of close-ups and quadrants with retracted lips in reach.")
    sides: Share = Field(
        default=0.35,
        description="Share of close-ups and quadrants, without dam, with skin, a glove or cloth along their sides.",
    )
    black: Share = Field(
        default=0.3, description="Share of pictures before black: contrastor or a dark room; not of faces."
    )
    children: Share = Field(default=0.12, description="Share of children with deciduous teeth.")
    disease: Share = Field(default=0.85, description="Share of patients with decayed, broken and filled teeth.")
    frames: Share = Field(default=0.12, description="Share of pictures with a border, bars or text.")
    faults: Share = Field(
        default=1.0, description="Strength of wrong exposure and colour, blur, depth of field, noise and compression."
    )

    @field_validator("framings")
    @classmethod
    def _some_framing(cls, framings: dict[Framing, float]) -> dict[Framing, float]:
        if not 0 < sum(framings.values()) < inf:
            raise ValueError("at least one weight above 0, and a finite sum")
        return framings


#: Name of the built-in mix.
VARIED: Final = "varied"


def read_mix(name: str | None) -> Mix | None:
    """Read a mix: ``VARIED`` is the built-in one, any other name a YAML file; None is none.

    Raises:
        SpecError: If the file cannot be read, a key is unknown or a value is wrong.
    """
    if name is None:
        return None
    return validate_document(Mix, {} if name == VARIED else read_values(name), name)
