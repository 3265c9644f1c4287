"""Guidance: how the predictions of a canvas's rows become one, and what takes an unconditional row's place.

Every method is one linear rule, with w the guidance scale and c the prompt's prediction:

    prediction = w c + (1 - w) u

``full`` (Ho and Salimans 2022, https://arxiv.org/abs/2207.12598) asks the UNet for u, a second row at every step.
Residual guidance (Kodaira et al. 2023, https://arxiv.org/abs/2312.12491, section 3.2) takes for u the noise that leads
from a reference picture r to the latents x: u = delta (x - A r) / B, with A and B the scheduler's factors of signal and
noise. ``self`` has as r the picture that the canvas started from, or, where it starts from noise alone, the empty
latent: no extra row ever. ``initialize`` asks the UNet once, at the first step, and takes as r the clean picture that
this prediction implies. Computed from x at every step, u is right from the first step on and under every solver.
Refuses to know slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.solver import SolverTable
from dentgen.errors import CanvasError

GuidanceMethod = Literal["full", "self", "initialize"]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One UNet input row: its prompt and the weight of its prediction in the canvas's."""

    prompt: KeyedTensor
    weight: float


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """What residual guidance adds to a prediction: ``latents * x + reference * r``."""

    latents: float = 0.0
    reference: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Guidance:
    """Classifier-free guidance of one canvas.

    Attributes:
        scale: w; 1 is no guidance, whatever the method.
        method: Where the unconditional prediction comes from.
        negative: Embeddings of the negative prompt, for ``full`` and ``initialize``.
        delta: Factor on the residual noise; below 1 it guides more gently.
    """

    scale: float = 1.0
    method: GuidanceMethod = "full"
    negative: KeyedTensor | None = None
    delta: float = 1.0

    @property
    def active(self) -> bool:
        """Whether there is any guidance."""
        return self.scale != 1.0

    def rows(self, prompt: KeyedTensor, step: int) -> tuple[Row, ...]:
        """Rows at a step, in combination order; a row that is not there at later steps stands last."""
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
        """Whether the last row's prediction at this step defines the reference picture."""
        return self.active and self.method == "initialize" and step == 0

    def residual(self, table: SolverTable, step: int) -> Residual:
        """Factors of the residual noise at a step."""
        if not self.active or self.method == "full" or self.sets_reference(step):
            return Residual()
        signal, noise = float(table.signal[step]), float(table.noise[step])
        share = (1.0 - self.scale) * self.delta / noise
        return Residual(latents=share, reference=-share * signal)

    def check(self, key: str, table: SolverTable) -> None:
        """Say what is missing for this guidance.

        Raises:
            CanvasError: If the negative prompt is missing, or residual noise has no meaning for the solver's model.
        """
        if not self.active:
            return
        if self.method != "self" and self.negative is None:
            raise CanvasError(f"{key}: {self.method} guidance {self.scale} needs a negative prompt's embeddings")
        if self.method == "full":
            return
        if table.prediction_type != "epsilon":
            raise CanvasError(f"{key}: residual guidance needs an epsilon model, found {table.prediction_type}")
        if not bool((table.noise > 0).all() and (table.signal > 0).all()):
            raise CanvasError(f"{key}: residual guidance divides by signal and noise; {table.name} has a step without")
