"""The lighting map under lamps that the user places, from the record's normals and depth."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from dentgen.conditions.labels import has_surface
from dentgen.errors import SpecError
from dentgen.relight.shading import ClayLighting, DirectionalLight, shade
from dentgen.spec.section import Section
from dentgen.studio.planes import Rectangle
from dentgen.studio.work import Work

_Share = Annotated[float, Field(ge=0, le=1)]


class Lamp(Section):
    """A lamp at infinity, placed on the disc of directions that the camera sees: (0, 0) is at the lens."""

    x: float = Field(default=0.0, ge=-1, le=1, description="To the right.")
    y: float = Field(default=0.0, ge=-1, le=1, description="Up.")
    strength: _Share = Field(default=1.0, description="Share of the direct light.")

    @property
    def directional(self) -> DirectionalLight:
        """The lamp for the renderer; outside the disc it is behind no surface, but level with it."""
        beyond = max(1.0, float(np.hypot(self.x, self.y)))
        x, y = self.x / beyond, self.y / beyond
        return DirectionalLight((x, y, float(np.sqrt(max(0.0, 1 - x * x - y * y))) + 1e-3), self.strength)


class Light(Section):
    """Lamps and weights of one lighting map."""

    lamps: tuple[Lamp, ...] = Field(default=(Lamp(),), min_length=1, max_length=4)
    ambient: _Share = 0.12
    direct: _Share = 0.72
    gloss: _Share = 0.14


def relight(work: Work, gesture: str, light: Light) -> None:
    """Replace the lighting map where the record has a surface.

    Raises:
        SpecError: If the record has no normals, or no lighting map.
    """
    normal, lighting, depth = (work.planes.get(name) for name in ("normal", "lighting", "depth"))
    if normal is None or lighting is None:
        raise SpecError(key="light", found="a record without normals", expected="normal and lighting maps")
    clay = ClayLighting(tuple(lamp.directional for lamp in light.lamps), light.ambient, light.direct, light.gloss)
    shaded = np.where(has_surface(normal), shade(normal, depth, clay), lighting)
    work.change(gesture, {"lighting": (Rectangle.whole(shaded), shaded.astype(np.uint8))})
