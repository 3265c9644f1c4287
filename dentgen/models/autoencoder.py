"""Pictures to latents and back, in batches of one fixed size, so that a result never depends on how many came along.

Refuses to know where pictures come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from diffusers import AutoencoderKL
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

Item = TypeVar("Item")


class LatentCodec:
    """A bundle's autoencoder with a fixed batch size."""

    def __init__(self, vae: AutoencoderKL, batch: int) -> None:
        """``batch`` images go through the network per call, short batches padded with zeros."""
        self._vae, self._batch = vae, batch
        self._scale = float(vae.config["scaling_factor"])

    @property
    def downscale(self) -> int:
        """Pixels per latent."""
        return 2 ** (len(self._vae.config["block_out_channels"]) - 1)

    @torch.no_grad()
    def encode_control(self, images: Sequence[NDArray[np.uint8]]) -> list[Float[Tensor, "4 h w"]]:
        """Scaled latents of control images (H, W, 3), taken as [0, 1] and at the posterior's mode.

        ctrLoRA encodes conditions in [0, 1], not in the picture's [-1, 1].
        """
        latents: list[Tensor] = []
        for chunk in self._chunks(images):
            batch = torch.from_numpy(np.stack(chunk)).permute(0, 3, 1, 2).to(self._vae.device, self._vae.dtype) / 255
            encoded = self._vae.encode(self._padded(batch.contiguous())).latent_dist.mode() * self._scale
            latents += list(encoded[: len(chunk)].clone())
        return latents

    @torch.no_grad()
    def decode(self, latents: Sequence[Float[Tensor, "4 h w"]]) -> list[NDArray[np.uint8]]:
        """Pictures (H, W, 3) uint8 of scaled latents, levels rounded to nearest."""
        pictures: list[NDArray[np.uint8]] = []
        for chunk in self._chunks(latents):
            batch = torch.stack(list(chunk)).to(self._vae.device, self._vae.dtype) / self._scale
            decoded = self._vae.decode(self._padded(batch)).sample[: len(chunk)]
            levels = ((decoded.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
            pictures += list(levels.permute(0, 2, 3, 1).cpu().numpy())
        return pictures

    def _chunks(self, items: Sequence[Item]) -> list[Sequence[Item]]:
        return [items[i : i + self._batch] for i in range(0, len(items), self._batch)]

    def _padded(self, batch: Tensor) -> Tensor:
        missing = self._batch - len(batch)
        return torch.cat([batch, batch.new_zeros(missing, *batch.shape[1:])]) if missing else batch
