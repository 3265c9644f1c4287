"""Canvases: pictures in the making, as the engine takes them in and hands them out.

A plain image is a canvas with one row; classifier-free guidance adds a second. Refuses to know slots and models.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from dentgen.diffusion.solver import SolverTable
from dentgen.errors import EngineError
from dentgen.seeding import NoiseKey


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """A tensor with a name: equal names mean equal values, so that work on them is shared.

    Attributes:
        name: Identity, a digest of what made the values.
        values: Prompt embeddings (tokens, width) or condition latents (4, h, w).
    """

    name: str
    values: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """One picture to sample.

    Attributes:
        key: Unique among canvases in flight.
        noise: Names the canvas's noise.
        table: Its solver.
        prompt: Prompt embeddings (tokens, width).
        negative_prompt: Embeddings of the unconditional row; needed where ``guidance_scale`` is not 1.
        guidance_scale: Classifier-free guidance; 1 runs no second row.
        condition: Condition latents (4, h, w) in [0, 1] range encoding, None for no control.
        conditioning_scale: Factor on the control residuals.
    """

    key: str
    noise: NoiseKey
    table: SolverTable
    prompt: Named
    negative_prompt: Named | None = None
    guidance_scale: float = 1.0
    condition: Named | None = None
    conditioning_scale: float = 1.0

    def rows(self) -> tuple[Row, ...]:
        """The UNet rows that work on this canvas, in the order in which they are combined.

        Raises:
            EngineError: If guidance is asked for without a negative prompt.
        """
        if self.guidance_scale == 1.0:
            return (Row(self.prompt, 1.0),)
        if self.negative_prompt is None:
            raise EngineError(f"{self.key}: guidance_scale {self.guidance_scale} needs a negative prompt's embeddings")
        return (Row(self.negative_prompt, 1.0 - self.guidance_scale), Row(self.prompt, self.guidance_scale))


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One UNet input row: its prompt and the weight of its prediction in the canvas's."""

    prompt: Named
    weight: float


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A canvas that has left the engine: its key and clean latents (4, h, w), float32."""

    key: str
    latents: Float[Tensor, "4 h w"]
