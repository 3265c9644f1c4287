"""Ways from one prompt to another and from one noise to another. Refuses to know what is interpolated for.

Straight lines shorten what they cross: half-way between two independent noises lies a noise of 0.7 times their
deviation, which a diffusion model has never seen. Spherical ones keep the length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from dentgen.seeding import NoiseKey

#: Sine of an angle at which line and arc differ by less than float32 tells apart, and below which the arc's direction
#: is rounding noise.
_NEARLY_PARALLEL: Final = 1e-4


def share_of(variant: int, variants: int) -> float:
    """Where a variant lies on the way: 0 for the first, 1 for the last, 0 for one alone."""
    return variant / (variants - 1) if variants > 1 else 0.0


def lerp(a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"], share: float) -> Float[Tensor, "*shape"]:
    """The straight line from ``a`` (share 0) to ``b`` (share 1), float64 inside; the ends bit for bit.

    Raises:
        ValueError: If ``share`` is outside [0, 1].
    """
    end = _end(a, b, share)
    return torch.lerp(a.double(), b.double(), share).to(a.dtype) if end is None else end


def slerp(
    a: Float[Tensor, "*tokens width"], b: Float[Tensor, "*tokens width"], share: float
) -> Float[Tensor, "*tokens width"]:
    """The arc from ``a`` (share 0) to ``b`` (share 1) of every vector along the last dimension: of every token.

    Lengths go over into each other with the directions. Vectors that are zero, nearly parallel or nearly opposite have
    no arc of their own and take the straight line.

    Args:
        a: Where share 0 is; given back bit for bit.
        b: Where share 1 is; given back bit for bit.
        share: 0..1.

    Returns:
        Vectors in the dtype of ``a``; float64 inside.

    Raises:
        ValueError: If ``share`` is outside [0, 1].
    """
    end = _end(a, b, share)
    if end is not None:
        return end
    one, other = a.double(), b.double()
    lengths = one.norm(dim=-1, keepdim=True) * other.norm(dim=-1, keepdim=True)
    cosine = (one * other).sum(-1, keepdim=True) / lengths.clamp_min(torch.finfo(torch.float64).tiny)
    angle = cosine.clamp(-1, 1).acos()
    sine = angle.sin()
    arc = (((1 - share) * angle).sin() * one + (share * angle).sin() * other) / sine.clamp_min(_NEARLY_PARALLEL)
    straight = (sine < _NEARLY_PARALLEL) | (lengths == 0)
    return torch.where(straight, torch.lerp(one, other, share), arc).to(a.dtype)


def slerp_whole(a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"], share: float) -> Float[Tensor, "*shape"]:
    """As :func:`slerp`, the whole tensor as one vector: between independent noises every share is such noise again.

    Raises:
        ValueError: If ``share`` is outside [0, 1].
    """
    return slerp(a.reshape(-1), b.reshape(-1), share).reshape(a.shape)


@dataclass(frozen=True, slots=True)
class NoisePath:
    """Noise on the arc between two noise keys; draws like a :class:`NoiseKey`.

    Attributes:
        start: Noise at share 0.
        end: Noise at share 1.
        share: 0..1.
    """

    start: NoiseKey
    end: NoiseKey
    share: float

    def normal(self, purpose: str, step: int, shape: tuple[int, ...]) -> Tensor:
        """Standard normal float32 values of ``shape``, as long as both ends' as a vector; drawn on the CPU.

        Raises:
            ValueError: If ``share`` is outside [0, 1].
        """
        return slerp_whole(self.start.normal(purpose, step, shape), self.end.normal(purpose, step, shape), self.share)


def _end(a: Tensor, b: Tensor, share: float) -> Tensor | None:
    """The end that a share of exactly 0 or 1 names; arithmetic would round it."""
    if not 0 <= share <= 1:
        raise ValueError(f"share: found {share}, expected 0..1")
    return a if share == 0 else b if share == 1 else None
