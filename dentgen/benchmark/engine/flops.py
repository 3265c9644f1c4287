"""Floating-point operations of a bundle's networks, counted by torch on the networks themselves."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dentgen.errors import SpecError
from dentgen.models.autoencoder import downscale_of
from dentgen.models.bundle import Bundle
from dentgen.models.control import control_residuals
from dentgen.models.flops import gflop


@dataclass(frozen=True, slots=True)
class NetworkFlops:
    """GFLOP of single calls.

    Attributes:
        unet, control: One row of the UNet and of the ctrLoRA control net.
        encode, decode: One image; ``decode`` is that of the chosen decoder.
        text: One prompt.
    """

    unet: float
    control: float
    encode: float
    decode: float
    text: float


def count_networks(bundle: Bundle, shape: tuple[int, int], tokens: int, width: int) -> NetworkFlops:
    """Count the operations of every network.

    Args:
        bundle: Networks on any device, ``meta`` included.
        shape: Height and width of the images, pixels.
        tokens: Tokens per prompt embedding.
        width: Width of a prompt embedding.

    Raises:
        SpecError: If the bundle does not have exactly one ctrLoRA control net.
    """
    device, dtype, control = bundle.unet.device, bundle.unet.dtype, bundle.control
    if control is None:
        raise SpecError(
            file=f"bundle {bundle.name}",
            key="model.adapters",
            found=f"{len(bundle.shared)} ctrLoRA control nets",
            expected="one to count",
        )
    latent_size = [edge // downscale_of(bundle.vae) for edge in shape]
    latents = torch.zeros(1, 4, *latent_size, device=device, dtype=dtype)
    image = torch.zeros(1, 3, *shape, device=device, dtype=dtype)
    prompt = torch.zeros(1, tokens, width, device=device, dtype=dtype)
    times = torch.zeros(1, device=device)
    window = torch.zeros(1, bundle.tokenizer.model_max_length, device=device, dtype=torch.long)
    decoder = bundle.vae if bundle.tiny_decoder is None else bundle.tiny_decoder
    return NetworkFlops(
        unet=gflop(lambda: bundle.unet(latents, times, prompt)),
        control=gflop(lambda: control_residuals(control, latents, times, prompt)),
        encode=gflop(lambda: bundle.vae.encode(image)),
        decode=gflop(lambda: decoder.decode(latents)),
        text=gflop(lambda: bundle.text_encoder(window)) * tokens / window.shape[1],
    )
