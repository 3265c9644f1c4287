"""The only source of randomness: every draw is named by what it is for.

A stream is named by (seed, key, variant, purpose, step) and by nothing else, so a draw never depends on a batch,
a worker, a retry or what was drawn before it. This module holds no state and refuses to know what a key means.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(*parts: int | str) -> int:
    """Hash a name to a 63-bit seed; parts are length-prefixed, so ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256()
    for part in parts:
        text = str(part).encode()
        digest.update(f"{type(part).__name__}:{len(text)}:".encode() + text)
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def numpy_generator(*parts: int | str) -> np.random.Generator:
    """A numpy generator for the stream named by ``parts``."""
    return np.random.Generator(np.random.PCG64(derive_seed(*parts)))


@contextmanager
def fresh_weights(*parts: int | str) -> Iterator[None]:
    """Within the block, modules initialise from the stream named by ``parts``; the global generator is restored."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(*parts))  # noqa: TID251 - layers initialise from the global generator only
        yield


@dataclass(frozen=True, slots=True)
class NoiseKey:
    """Names the noise of one canvas: build seed, sample key and variant.

    Attributes:
        seed: The build's seed.
        key: Key of the condition record.
        variant: Index of the variant, from 0.
    """

    seed: int
    key: str
    variant: int

    def normal(self, purpose: str, step: int, shape: tuple[int, ...]) -> torch.Tensor:
        """Standard normal float32 values of ``shape``, drawn on the CPU whatever device uses them."""
        import torch

        generator = torch.Generator(device="cpu")
        generator.manual_seed(derive_seed(self.seed, self.key, self.variant, purpose, step))
        return torch.randn(shape, generator=generator, dtype=torch.float32)
