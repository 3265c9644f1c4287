"""Keyed random streams, the only source of randomness in dentgen.

A stream is a pure function of its name, for example (seed, key, variant, purpose, step), so a draw never depends on
batching, workers, retries or earlier draws.
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
    """Hash a stream's name to a 63-bit seed; parts are length-prefixed, so ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256()
    for part in parts:
        text = str(part).encode()
        digest.update(f"{type(part).__name__}:{len(text)}:".encode() + text)
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def numpy_generator(*parts: int | str) -> np.random.Generator:
    """A numpy generator (PCG64) for the stream named by ``parts``."""
    return np.random.Generator(np.random.PCG64(derive_seed(*parts)))


@contextmanager
def fresh_weights(*parts: int | str) -> Iterator[None]:
    """Within the block, modules initialise from the stream named by ``parts``; afterwards torch's state is restored."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(*parts))  # noqa: TID251 - layers initialise from the global generator
        yield


@dataclass(frozen=True, slots=True)
class NoiseKey:
    """Name of the noise of one canvas.

    Attributes:
        seed: The build's seed.
        key: Key of the condition record.
        variant: Index of the variant, from 0.
    """

    seed: int
    key: str
    variant: int

    def normal(self, purpose: str, step: int, shape: tuple[int, ...]) -> torch.Tensor:
        """Standard normal float32 values of ``shape``, always drawn on the CPU, so that they are equal on every device.

        Args:
            purpose: What the noise is for, for example ``initial`` or ``injected``.
            step: Sampling step, 0 where there is none.
            shape: Shape of the values.
        """
        import torch

        generator = torch.Generator(device="cpu")
        generator.manual_seed(derive_seed(self.seed, self.key, self.variant, purpose, step))
        return torch.randn(shape, generator=generator, dtype=torch.float32)
