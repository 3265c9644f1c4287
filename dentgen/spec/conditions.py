"""From condition record to control image: which conditions, their blend, the size of the picture."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from dentgen.errors import SpecError
from dentgen.records import BLENDS, ConditionName
from dentgen.spec.section import Section


def _two_sides(shape: list[Any] | tuple[Any, ...]) -> list[Any] | tuple[Any, ...]:
    """One fault for a list of another length, not one per missing number."""
    if len(shape) != 2:
        raise ValueError(f"found {list(shape)}, expected [height, width], or the edge of a square")
    return shape


def _square_as_edge(shape: tuple[int, int]) -> int | tuple[int, int]:
    """A square under its one name, so that equal datasets have equal digests."""
    height, width = shape
    return height if height == width else shape


_Edge = Annotated[int, Field(ge=8, le=4096, multiple_of=8)]
#: Size of the picture: the edge of a square, or height and width.
Size = Annotated[
    Annotated[_Edge, Tag("[edge]")]
    | Annotated[
        tuple[_Edge, _Edge], BeforeValidator(_two_sides), AfterValidator(_square_as_edge), Tag("[height, width]")
    ],
    Discriminator(lambda size: "[height, width]" if isinstance(size, (list, tuple)) else "[edge]"),
]


class ConditionsSpec(Section):
    """From condition record to control image."""

    use: tuple[ConditionName, ...] = Field(
        default=("segmentation", "lighting"), min_length=1, description="Conditions that control the image."
    )
    combine: Literal["blend", "sum"] = Field(
        default="blend",
        description="blend: one control image for all adapters; sum: each condition goes through the adapter or "
        "ControlNet of its name, or through the bare base, and residuals are added.",
    )
    alpha: float = Field(default=0.3, ge=0, le=1, description="Weight of segmentation colours over lighting.")
    size: Size | None = Field(
        default=None,
        description="Edge of a square image, or [height, width], pixels; null: what the bundle's UNet was trained at.",
    )
    fit: Literal["pad", "crop", "stretch"] = Field(default="pad", description="How other shapes are fitted.")
    control_start: float = Field(
        default=0.0, ge=0, le=1, description="Fraction of the steps before which control is off."
    )
    control_end: float = Field(default=1.0, ge=0, le=1, description="Fraction of the steps after which control is off.")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image in a spec whose size is resolved, as that of every plan and generator.

        Raises:
            SpecError: If it is not.
        """
        if self.size is None:
            raise SpecError(key="conditions.size", found="null", expected="a size, once the bundle is known")
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def edge(self) -> int:
        """Edge of a square image, for evaluations and benchmarks that render their own maps.

        Raises:
            SpecError: If the image is not square, or its size is not resolved.
        """
        height, width = self.shape
        if height != width:
            expected = "a square, because the maps that are rendered to measure with are squares"
            raise SpecError(key="conditions.size", found=[height, width], expected=expected)
        return height

    @model_validator(mode="after")
    def _blendable(self) -> ConditionsSpec:
        if len(set(self.use)) < len(self.use):
            raise ValueError(f"use: found {list(self.use)}, expected every condition once")
        if not self.control_start < self.control_end:
            raise ValueError(f"control_start {self.control_start} must be less than control_end {self.control_end}")
        if self.combine == "blend" and len(self.use) > 1 and set(self.use) not in BLENDS:
            expected = "use one condition, or segmentation and lighting (and findings)"
            raise ValueError(f"cannot blend {list(self.use)}: {expected}")
        return self
