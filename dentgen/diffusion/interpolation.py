"""Linear and spherical interpolation of prompt embeddings and noise.

Linear interpolation shrinks vectors: the midpoint of two independent noises has 0.7 times their standard deviation,
which is outside a diffusion model's training distribution. Spherical interpolation (slerp) preserves the norm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from dentgen.seeding import NoiseKey

#: Sine of the angle below which lerp replaces slerp: they agree to float32 precision there, and slerp's direction is
#: rounding noise.
_NEARLY_PARALLEL: Final = 1e-4


def share_of(variant: int, variants: int) -> float:
    """Interpolation fraction of a variant: 0 for the first (or only) one, 1 for the last."""
    return variant / (variants - 1) if variants > 1 else 0.0


def lerp(a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"], share: float) -> Float[Tensor, "*shape"]:
    """Linear interpolation from ``a`` (share 0) to ``b`` (share 1), computed in float64; exact at both ends.

    Returns:
        A tensor of the shape and dtype of ``a``.

    Raises:
        ValueError: If ``share`` is outside [0, 1].
    """
    end = _end(a, b, share)
    return torch.lerp(a.double(), b.double(), share).to(a.dtype) if end is None else end


def slerp(
    a: Float[Tensor, "*tokens width"], b: Float[Tensor, "*tokens width"], share: float
) -> Float[Tensor, "*tokens width"]:
    """Spherical interpolation along the last dimension, so every token of an embedding on its own.

    Norms are interpolated along with directions. Where slerp is undefined or ill-conditioned (vectors that are zero,
    nearly parallel or nearly opposite), the result is that of ``lerp``.

    Args:
        a: Result at share 0, bit for bit.
        b: Result at share 1, bit for bit.
        share: Interpolation fraction, 0..1.

    Returns:
        Vectors of the shape and dtype of ``a``, computed in float64.

    References:
        Shoemake 1985, Animating rotation with quaternion curves, https://doi.org/10.1145/325165.325242

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
    """:func:`slerp` of the whole tensor as one vector: independent normal noises give normal noise at every share.

    Raises:
        ValueError: If ``share`` is outside [0, 1].
    """
    return slerp(a.reshape(-1), b.reshape(-1), share).reshape(a.shape)


@dataclass(frozen=True, slots=True)
class NoisePath:
    """Noise interpolated between two noise keys by slerp, with the interface of :class:`NoiseKey`.

    Attributes:
        start: Noise at share 0.
        end: Noise at share 1.
        share: Interpolation fraction, 0..1.
    """

    start: NoiseKey
    end: NoiseKey
    share: float

    def normal(self, purpose: str, step: int, shape: tuple[int, ...]) -> Tensor:
        """Standard normal float32 values of ``shape``, drawn on the CPU.

        Raises:
            ValueError: If ``share`` is outside [0, 1].
        """
        return slerp_whole(self.start.normal(purpose, step, shape), self.end.normal(purpose, step, shape), self.share)


def _end(a: Tensor, b: Tensor, share: float) -> Tensor | None:
    """``a`` or ``b`` at a share of exactly 0 or 1, where arithmetic would round; None in between."""
    if not 0 <= share <= 1:
        raise ValueError(f"share: found {share}, expected 0..1")
    return a if share == 0 else b if share == 1 else None
