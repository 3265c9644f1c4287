"""Classifier-free guidance with a second UNet row (``full``) or without one (residual guidance).

Every method is one linear rule, with w the guidance scale, c the prediction for the prompt and u the unconditional one:

    prediction = w c + (1 - w) u

``full`` (Ho and Salimans 2022, https://arxiv.org/abs/2207.12598) computes u with a second UNet row at every step.
Residual guidance (Kodaira et al. 2023, https://arxiv.org/abs/2312.12491, section 3.2) sets u to the noise that leads
from reference latents r to the current latents x: u = delta (x - A r) / B, where A and B are the scheduler's factors
of signal and noise. ``self`` uses as r the image that the canvas started from, or zeros if it started from noise
alone, and needs no extra row. ``initialize`` runs one extra row at the first step and uses as r the clean latents that
this prediction implies. As u is recomputed from x at every step, it is correct from the first step on, with any solver.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.solver import SolverTable
from dentgen.diffusion.windows import Window
from dentgen.errors import CanvasError

GuidanceMethod = Literal["full", "self", "initialize"]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One UNet input row.

    Attributes:
        prompt: Its prompt.
        weight: Weight of its prediction in that of the canvas, or of its region.
        layer: 0 for the canvas's own prompt, n for that of its n-th region.
        counts: Whether this row of a region counts as its cover: one row of each does.
        window: Which part of the canvas it sees.
    """

    prompt: KeyedTensor
    weight: float
    layer: int = 0
    counts: bool = False
    window: Window | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """The term that residual guidance adds to a prediction: ``latents * x + reference * r``."""

    latents: float = 0.0
    reference: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Guidance:
    """Classifier-free guidance of one canvas.

    Attributes:
        scale: Guidance scale w; 1 disables guidance.
        method: Source of the unconditional prediction.
        negative: Embeddings (tokens, width) of the negative prompt, required by ``full`` and ``initialize``.
        delta: Factor on the residual noise; below 1 guides more gently.
    """

    scale: float = 1.0
    method: GuidanceMethod = "full"
    negative: KeyedTensor | None = None
    delta: float = 1.0

    @property
    def active(self) -> bool:
        """Whether guidance is on."""
        return self.scale != 1.0

    def rows(self, prompt: KeyedTensor, step: int) -> tuple[Row, ...]:
        """Rows at a step, in combination order; a row that later steps do not need comes last."""
        if not self.active:
            return (Row(prompt, 1.0),)
        guided = Row(prompt, self.scale)
        if self.negative is None:
            return (guided,)
        if self.method == "full":
            return (Row(self.negative, 1.0 - self.scale), guided)
        if self.sets_reference(step):
            return (guided, Row(self.negative, (1.0 - self.scale) * self.delta))
        return (guided,)

    def sets_reference(self, step: int) -> bool:
        """Whether the last row's prediction at this step defines the reference latents."""
        return self.active and self.method == "initialize" and step == 0

    def residual(self, table: SolverTable, step: int) -> Residual:
        """Factors of the residual noise at a step; zeros where it does not apply."""
        if not self.active or self.method == "full" or self.sets_reference(step):
            return Residual()
        signal, noise = float(table.signal[step]), float(table.noise[step])
        share = (1.0 - self.scale) * self.delta / noise
        return Residual(latents=share, reference=-share * signal)

    def check(self, key: str, table: SolverTable) -> None:
        """Check that the guidance works with a solver table.

        Raises:
            CanvasError: If the negative prompt is missing, or residual guidance is undefined for the solver: not an
                epsilon model, or a step without signal or noise.
        """
        if not self.active:
            return
        if self.method != "self" and self.negative is None:
            guidance = f"{self.method} guidance of scale {self.scale:g}"
            raise CanvasError(guidance, key=key, found="no negative prompt", expected="negative prompt embeddings")
        if self.method == "full":
            return
        if table.prediction_type != "epsilon":
            found, expected = f"prediction type {table.prediction_type}", "prediction type epsilon"
            raise CanvasError("residual guidance", key=key, found=found, expected=expected)
        if not bool((table.noise > 0).all() and (table.signal > 0).all()):
            found, expected = f"a step without signal or noise in {table.name}", "signal and noise at every step"
            raise CanvasError("residual guidance", key=key, found=found, expected=expected)
