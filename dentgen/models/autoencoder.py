"""Pictures to latents and back, in batches of one fixed size, so that a result never depends on how many came along.

Refuses to know where pictures come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
import torch
from diffusers import AutoencoderKL
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")


class OnDevice(Protocol):
    """Runs work where the device is and returns its result."""

    def __call__(self, work: Callable[[], Result], /) -> Result:
        """Run it."""


def _at_once(work: Callable[[], Result], /) -> Result:
    return work()


class LatentCodec:
    """A bundle's autoencoder with a fixed batch size."""

    def __init__(self, vae: AutoencoderKL, batch: int, on_device: OnDevice = _at_once) -> None:
        """Take an autoencoder.

        Args:
            vae: The network.
            batch: Images per call of it; short batches are padded with zeros.
            on_device: Runs every call; an engine's thread, where that owns the device.
        """
        self._vae, self._batch, self._on_device = vae, batch, on_device
        self._scale = float(vae.config["scaling_factor"])

    def through(self, on_device: OnDevice) -> LatentCodec:
        """The same codec with its calls run elsewhere."""
        return LatentCodec(self._vae, self._batch, on_device)

    @property
    def downscale(self) -> int:
        """Pixels per latent."""
        return 2 ** (len(self._vae.config["block_out_channels"]) - 1)

    def encode_control(self, images: Sequence[NDArray[np.uint8]]) -> list[Float[Tensor, "4 h w"]]:
        """Scaled latents of control images (H, W, 3), taken as [0, 1] and at the posterior's mode.

        ctrLoRA encodes conditions in [0, 1], not in the picture's [-1, 1].
        """
        chunks = self._chunks(images)
        return [latents for chunk in chunks for latents in self._on_device(partial(self._encode, chunk))]

    def decode(self, latents: Sequence[Float[Tensor, "4 h w"]]) -> list[NDArray[np.uint8]]:
        """Pictures (H, W, 3) uint8 of scaled latents, levels rounded to nearest."""
        chunks = self._chunks(latents)
        return [picture for chunk in chunks for picture in self._on_device(partial(self._decode, chunk))]

    @torch.no_grad()
    def _encode(self, images: Sequence[NDArray[np.uint8]]) -> list[Tensor]:
        batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(self._vae.device, self._vae.dtype) / 255
        encoded = self._vae.encode(self._padded(batch.contiguous())).latent_dist.mode() * self._scale
        return list(encoded[: len(images)].clone())

    @torch.no_grad()
    def _decode(self, latents: Sequence[Tensor]) -> list[NDArray[np.uint8]]:
        batch = torch.stack(list(latents)).to(self._vae.device, self._vae.dtype) / self._scale
        decoded = self._vae.decode(self._padded(batch)).sample[: len(latents)]
        levels = ((decoded.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        return list(levels.permute(0, 2, 3, 1).cpu().numpy())

    def _chunks(self, items: Sequence[Item]) -> list[Sequence[Item]]:
        return [items[i : i + self._batch] for i in range(0, len(items), self._batch)]

    def _padded(self, batch: Tensor) -> Tensor:
        missing = self._batch - len(batch)
        return torch.cat([batch, batch.new_zeros(missing, *batch.shape[1:])]) if missing else batch
