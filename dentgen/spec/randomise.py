"""How samples are made at random: prompts and scales that every sample draws for itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from dentgen.spec.section import Section


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError("expected the lower end first")
    return ends


_Scale = Annotated[float, Field(ge=0, le=100)]
_Range = Annotated[tuple[_Scale, _Scale], AfterValidator(_ordered)]


class RandomiseSpec(Section):
    """What every sample draws from its seed, key and variant; metadata says what it drew."""

    prompts: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), description="Prompts of which every sample draws one; `{prompt}` stands for the record's or spec's."
    )
    control_scale: _Range | None = Field(
        default=None, description="Ends of a factor on the scales of all adapters and controlnets; null: 1."
    )
    guidance_scale: _Range | None = Field(
        default=None, description="Ends of sampling.guidance_scale, which must not be 1; null: what it says."
    )

    @property
    def used(self) -> tuple[str, ...]:
        """Keys that ask for draws."""
        return tuple(name for name, value in self.model_dump().items() if value)

    def said(self, own: str) -> tuple[str, ...]:
        """Prompts that a sample may draw, whose own prompt is ``own``."""
        return tuple(prompt.replace("{prompt}", own) for prompt in self.prompts)
