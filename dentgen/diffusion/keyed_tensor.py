"""A tensor with a name as its identity, so that work on equal tensors is done once."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class KeyedTensor:
    """A tensor with a name; equal names must mean equal values.

    Attributes:
        name: Identity, usually a digest of the inputs that the values were computed from.
        values: Prompt embeddings (tokens, width), condition latents (4, h, w) or hint features (c, h, w).
    """

    name: str
    values: Tensor
