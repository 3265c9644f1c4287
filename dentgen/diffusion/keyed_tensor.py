"""Tensors with an identity, so that work on equal ones is done once. Refuses to know what they hold."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class KeyedTensor:
    """A tensor with a name: equal names mean equal values.

    Attributes:
        name: Identity, a digest of what made the values.
        values: Prompt embeddings (tokens, width), condition latents (4, h, w) or hint features (c, h, w).
    """

    name: str
    values: Tensor
