"""Regions: parts of a canvas with prompts of their own, whose predictions are averaged into one.

Every region is one more UNet row on the same latents. Predictions are averaged as clean latents, before the solver adds
noise, so the noise keeps its variance (Lee et al. 2024, StreamMultiDiffusion, https://arxiv.org/abs/2403.09055,
section 3). Rows that see the same latents may be averaged as the model predicts them, because clean latents are linear
in the prediction; those of the bootstrap see others, and are converted first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from dentgen.diffusion.interpolation import lerp
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.solver import SolverTable
from dentgen.diffusion.step_window import in_window
from dentgen.errors import CanvasError

#: How a mask grows from step to step: at once where it exceeds the noise level, along a ramp from this level to the
#: next one, or along a ramp at the last step only.
MaskEdge = Literal["discrete", "continuous", "semi-continuous"]

#: A threshold that no mask exceeds.
_NEVER: Final = 2.0
#: Largest threshold of a step: a mask of 1 belongs to its region even where latents are noise alone.
_MOST: Final = 1 - 2.0**-20


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A part of a canvas with its own prompt.

    Attributes:
        prompt: Embeddings (tokens, width).
        mask: (h, w) float32 in 0..1. A latent belongs to the region from the step on whose noise level is below its
            value, so soft edges let a region grow as the picture takes shape.
        negative: Embeddings of its negative prompt; None takes the canvas's.
        edge: How the mask is quantised.
        start, end: Steps in which the region acts, as fractions, 0..1.
        strength: Factor on the mask, 0..1: below 1 the region acts only once the noise is below it.
        prompt_strength: Interpolation from the canvas's own prompt, 0, to the region's, 1.
        scaled: The mask times ``strength``; set on creation.
    """

    prompt: KeyedTensor
    mask: Float[Tensor, "h w"]
    negative: KeyedTensor | None = None
    edge: MaskEdge = "discrete"
    start: float = 0.0
    end: float = 1.0
    strength: float = 1.0
    prompt_strength: float = 1.0
    scaled: Float[Tensor, "h w"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Scale the mask once: every tick reads it."""
        object.__setattr__(self, "scaled", self.mask if self.strength == 1 else self.strength * self.mask)

    def words(self, own: KeyedTensor) -> KeyedTensor:
        """Embeddings that its row gets.

        Args:
            own: Those of the canvas's own prompt.
        """
        share = min(max(self.prompt_strength, 0.0), 1.0)  # others are found by ``check``, with the canvas's key
        if share == 1 or own.values.shape != self.prompt.values.shape:  # likewise
            return self.prompt
        name = f"region {own.name} {self.prompt.name} {share}"
        return KeyedTensor(name, lerp(own.values, self.prompt.values, share))

    def thresholds(self, table: SolverTable, step: int) -> tuple[float, float]:
        """Mask values at which a latent begins to belong to the region at a step, and from which it does fully."""
        steps = table.num_steps
        if not in_window((self.start, self.end), step, steps):
            return _NEVER, _NEVER
        now, after = (min(noise_level(table, k), _MOST) for k in (step, step + 1))
        if self.edge == "discrete" or (self.edge == "semi-continuous" and step + 1 < steps):
            return now, now
        return min(now, after), max(now, after)

    def share(self, table: SolverTable, step: int) -> Float[Tensor, "h w"]:
        """The quantised mask at a step."""
        low, high = self.thresholds(table, step)
        return quantised(self.scaled, torch.tensor(low), torch.tensor(high))

    def check(self, key: str) -> None:
        """Check mask and strengths.

        Raises:
            CanvasError: If a value is not in 0..1.
        """
        for name, value in (("strength", self.strength), ("prompt strength", self.prompt_strength)):
            if not 0 <= value <= 1:
                raise CanvasError(f"{name} of a region", key=key, found=value, expected="0..1")
        low, high = float(self.mask.min()), float(self.mask.max())
        if not (low >= 0 and high <= 1):  # also if NaN
            raise CanvasError("mask of a region", key=key, found=f"values {low:g}..{high:g}", expected="0..1")


@dataclass(frozen=True, slots=True, eq=False)
class Bootstrap:
    """Shows regions alone, on white, at the first steps, so that each of them holds one whole thing (section 3.2).

    Attributes:
        white: Latents (4, h, w) of a white picture.
        steps: Steps in which regions see white around them.
        mix_steps: Over how many steps white gives way to the picture.
        leak: Sensitivity of the leak test: parts of a mask where white stays white are dropped; 0: no test.
        stride: Regions are moved to the centre of the picture by multiples of this many latents, the cells of the
            UNet's deepest level; 0 leaves them where they are.
    """

    white: Float[Tensor, "4 h w"]
    steps: int = 1
    mix_steps: float = 1.0
    leak: float = 0.0
    stride: int = 0

    def white_share(self, step: int) -> float:
        """How much of the surroundings is white at a step, 0..1."""
        return min(max(self.mix_steps - step, 0.0), 1.0) if step < self.steps else 0.0

    def shift(self, share: Float[Tensor, "h w"]) -> tuple[int, int]:
        """How far down and right a mask moves to the centre, latents; nothing for an empty mask."""
        if not self.stride or not bool(share.any()):
            return 0, 0
        down, right = (_to_centre(share.amax(1 - axis), self.stride) for axis in (0, 1))
        return down, right

    def check(self, key: str, table: SolverTable) -> None:
        """Check that clean latents follow from the predictions of its steps.

        Raises:
            CanvasError: If a step has no noise or no signal.
        """
        used = slice(0, self.steps)
        if not bool((table.noise[used] > 0).all() and (table.signal[used] > 0).all()):
            found, expected = f"a step without signal or noise in {table.name}", "signal and noise at its steps"
            raise CanvasError("bootstrap of regions", key=key, found=found, expected=expected)


@dataclass(frozen=True, slots=True)
class CleanLatents:
    """Clean latents as a function of latents and prediction: ``latents * x + prediction * e``."""

    latents: float
    prediction: float

    @classmethod
    def at(cls, table: SolverTable, step: int) -> CleanLatents:
        """Factors at a step, by what the model predicts (Salimans and Ho 2022, https://arxiv.org/abs/2202.00512)."""
        signal, noise = float(table.signal[step]), float(table.noise[step])
        match table.prediction_type:
            case "epsilon":
                return cls(1 / signal, -noise / signal)
            case "v_prediction":
                return cls(signal / (signal**2 + noise**2), -noise / math.hypot(signal, noise))
            case _:
                return cls(0.0, 1.0)

    @property
    def correction(self) -> float:
        """Factor of ``x - z`` that turns a prediction for latents z into one for x with the same clean latents."""
        return -self.latents / self.prediction if self.latents else 0.0


def noise_level(table: SolverTable, step: int) -> float:
    """Standard deviation of the noise in latents of unit variance before a step; 0 after the last one."""
    if step == table.num_steps:
        return 0.0
    signal, noise = float(table.signal[step]), float(table.noise[step])
    return noise / math.hypot(signal, noise)


def quantised(mask: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Share of each latent, 0..1, that belongs to a region: a ramp from ``low`` to ``high``, a step if they are equal.

    Args:
        mask: Values in 0..1.
        low: Values up to here do not belong to it; broadcasts to the mask.
        high: Values from here on belong to it fully.
    """
    ramp = ((mask - low) / (high - low).clamp(min=torch.finfo(mask.dtype).tiny)).clamp(0, 1)
    return torch.where(high > low, ramp, (mask > low).to(mask.dtype))


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """What a canvas is made of: its regions, and whether anything shows between them.

    Attributes:
        regions: Regions that have latents at some step; later ones do not cover earlier ones, they share.
        background: Whether the canvas's own prompt is needed.
        bootstrap: How regions begin; None: in the picture.
    """

    regions: tuple[Region, ...] = ()
    background: bool = True
    bootstrap: Bootstrap | None = None

    @classmethod
    def of(cls, regions: Sequence[Region], table: SolverTable, bootstrap: Bootstrap | None = None) -> Layers:
        """Layers without rows that would never be seen: empty regions, and a background that is covered everywhere.

        Updates of a canvas in flight cannot add rows; for those, list regions and background as they are.
        """
        seen = tuple(region for region in regions if any(bool(region.share(table, k).any()) for k in _steps(table)))
        if not seen:
            return cls()
        leaks = bootstrap is not None and bootstrap.leak > 0
        return cls(seen, leaks or not cls(seen).covers(table), bootstrap)

    def covers(self, table: SolverTable, first: int = 0) -> bool:
        """Whether regions cover every latent at every step from ``first`` on."""
        if not self.regions:
            return False
        shares = (torch.stack([region.share(table, k) for region in self.regions]) for k in _steps(table, first))
        return all(bool((each.sum(0) >= 1).all()) for each in shares)


def _steps(table: SolverTable, first: int = 0) -> range:
    return range(first, table.num_steps)


def _to_centre(occupied: Tensor, stride: int) -> int:
    """Distance from the middle of what is occupied to that of the axis, a multiple of ``stride``."""
    places = occupied.nonzero().flatten()
    middle = (int(places[0]) + int(places[-1]) + 1) // 2
    return stride * round((len(occupied) // 2 - middle) / stride)
