"""How finished images are changed at random, as by cameras and by what gets in the way."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dentgen.spec.section import Section

_Spread = Annotated[float, Field(ge=0, le=3)]
_Share = Annotated[float, Field(ge=0, le=1)]


class AugmentSpec(Section):
    """Changes of finished images; all zeros change nothing.

    Every sample draws its own values, which its metadata records. What hides teeth changes the maps too.
    """

    exposure: _Spread = Field(default=0.0, description="Standard deviation of the brightness, in stops.")
    colour: _Spread = Field(default=0.0, description="Standard deviation of the log gains of red and blue.")
    contrast: _Spread = Field(default=0.0, description="Standard deviation of the log contrast about mid-grey.")
    blur: Annotated[float, Field(ge=0, le=16)] = Field(
        default=0.0, description="Largest Gaussian blur, sigma in pixels of an image of 256."
    )
    noise: _Share = Field(default=0.0, description="Largest standard deviation of noise, of full scale.")
    jpeg: Annotated[int, Field(ge=1, le=95)] | None = Field(
        default=None, description="Lowest JPEG quality: every sample is compressed at one from it to 95; null: none."
    )
    border: _Share = Field(default=0.0, description="Share of samples with black or white bars at the edges; seg 0.")
    occluder: _Share = Field(default=0.0, description="Share of samples with a rod before the mouth; seg 7.")

    @property
    def used(self) -> dict[str, float]:
        """Keys that change something, with their values."""
        return {name: float(value) for name, value in self.model_dump().items() if value}
