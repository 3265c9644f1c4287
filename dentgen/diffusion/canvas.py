"""Canvases: pictures in the making, as the engine takes them in and hands them out.

A canvas names everything that decides one picture: noise, solver, prompt, guidance, controls and, where it starts from
a picture, that picture's latents. Refuses to know slots and models.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from dentgen.diffusion.guidance import Guidance, Row
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.solver import SolverTable
from dentgen.errors import CanvasError


@runtime_checkable
class Noise(Protocol):
    """Where a canvas's noise comes from: the same values for the same purpose and step, whoever asks and when."""

    def normal(self, purpose: str, step: int, shape: tuple[int, ...]) -> Tensor:
        """Standard normal float32 values on the CPU."""


@dataclass(frozen=True, slots=True, eq=False)
class ControlInput:
    """A condition and the control branch that it goes through.

    Attributes:
        branch: Name of the engine's branch.
        condition: For a shared branch condition latents (4, h, w), for a branch per row hint features (c, h, w).
        scale: Factor on the residuals.
        start, end: Shares of the steps between which the control acts.
    """

    branch: str
    condition: KeyedTensor
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def scale_at(self, step: int, steps: int) -> float:
        """The scale at a step, 0 outside the window; the window's edges are diffusers' own."""
        return self.scale if in_window((self.start, self.end), step, steps) else 0.0


def in_window(window: tuple[float, float], step: int, steps: int) -> bool:
    """Whether a step lies between two shares of all steps; the edges are diffusers' own."""
    return step / steps >= window[0] and (step + 1) / steps <= window[1]


@dataclass(frozen=True, slots=True, eq=False)
class Repaint:
    """What of a picture stays, and what is painted anew.

    Attributes:
        keep: (h, w), True where the picture's latents stay.
        masked: Latents (4, h, w) of the picture without the part to paint, for a UNet that is told (nine channels);
            None for one that is not.
    """

    keep: Bool[Tensor, "h w"]
    masked: Float[Tensor, "4 h w"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """One picture to sample.

    Attributes:
        key: Unique among canvases in flight.
        noise: Its noise.
        table: Its solver; it also says with how much of ``image`` the canvas starts.
        prompt: Prompt embeddings (tokens, width).
        guidance: How the prediction is guided.
        controls: At most one input per control branch.
        image: Scaled latents (4, h, w) of the picture to start from or to keep parts of.
        repaint: Which parts stay; None paints everything.
    """

    key: str
    noise: Noise
    table: SolverTable
    prompt: KeyedTensor
    guidance: Guidance = field(default_factory=Guidance)
    controls: tuple[ControlInput, ...] = ()
    image: Float[Tensor, "4 h w"] | None = None
    repaint: Repaint | None = None

    def rows(self, step: int) -> tuple[Row, ...]:
        """The UNet rows that work on this canvas at a step, in the order in which they are combined."""
        return self.guidance.rows(self.prompt, step)

    @property
    def edited(self) -> bool:
        """Whether the engine puts the kept part of the picture back after every step."""
        return self.repaint is not None and self.repaint.masked is None

    def check(self) -> None:
        """Say what contradicts itself.

        Raises:
            CanvasError: If something is missing that the canvas needs.
        """
        table = self.table
        if self.image is None and (table.start_signal or self.edited):
            raise CanvasError(f"{self.key}: found no image latents, expected some to start from or to keep")
        branches = [control.branch for control in self.controls]
        if len(set(branches)) < len(branches):
            raise CanvasError(f"{self.key}: found control branches {branches}, expected each once")
        self.guidance.check(self.key, table)


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A canvas that has left the engine: its key and clean latents (4, h, w), float32."""

    key: str
    latents: Float[Tensor, "4 h w"]


@dataclass(frozen=True, slots=True, eq=False)
class Failed:
    """A canvas that the engine gave up: its key and why. Its neighbours went on."""

    key: str
    error: CanvasError


#: What comes out of the engine for a canvas: clean latents (4, h, w), or why there are none.
Sampled = Tensor | CanvasError
