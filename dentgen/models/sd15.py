"""A bundle of Stable Diffusion 1.5's size with random weights, to measure speed and determinism without a download.

The configurations are the public ones of Stable Diffusion 1.5 and of its tiny autoencoder. Tokenizer and noise schedule
are the miniature's, whose prompts also have 77 tokens.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dentgen.models.bundle import BASE, MINIATURE, Bundle, Decoder, find_bundle, prepare_for_inference
from dentgen.models.control import control_from_unet
from dentgen.seeding import fresh_weights

SD15: Final = "sd15"
#: Native picture size of Stable Diffusion 1.5, pixels.
SIZE: Final = 512

_UNET: Final[dict[str, Any]] = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
_VAE: Final[dict[str, Any]] = {
    "sample_size": 512,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "scaling_factor": 0.18215,
}
_TINY: Final[dict[str, Any]] = {
    "encoder_block_out_channels": (64, 64, 64, 64),
    "decoder_block_out_channels": (64, 64, 64, 64),
    "num_encoder_blocks": (1, 3, 3, 3),
    "num_decoder_blocks": (3, 3, 3, 1),
    "latent_channels": 4,
    "scaling_factor": 1.0,
}
_TEXT: Final[dict[str, Any]] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
}
_CONTROL_STD: Final = 0.02


def random_sd15(
    *,
    decoder: Decoder = "kl",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Bundle:
    """A bundle of Stable Diffusion 1.5's networks with random weights, reproducible per device type.

    Args:
        decoder: ``tiny`` adds a tiny decoder.
        device: Device that the weights are drawn on; ``meta`` draws none.
        dtype: Precision of the weights.
        seed: Seed of the weights.
    """
    folder = find_bundle(MINIATURE)
    with fresh_weights(SD15, seed), torch.device(device):
        unet: UNet2DConditionModel = UNet2DConditionModel.from_config(_UNET)
        bundle = Bundle(
            name=SD15,
            digest=SD15,
            folder=folder,
            tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
            text_encoder=CLIPTextModel(CLIPTextConfig(**_TEXT)),
            vae=AutoencoderKL.from_config(_VAE),
            unet=unet,
            shared={BASE: _control(unet)},
            full={},
            tiny_decoder=AutoencoderTiny.from_config(_TINY) if decoder == "tiny" else None,
        )
    for net in (bundle.text_encoder, bundle.vae, bundle.unet, bundle.control, bundle.tiny_decoder):
        if net is not None:
            nn.Module.to(net, dtype)
    prepare_for_inference(bundle, device)
    return bundle


def empty_sd15() -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """UNet and text encoder of Stable Diffusion 1.5 on the meta device."""
    with torch.device("meta"):
        return UNet2DConditionModel.from_config(_UNET), CLIPTextModel(CLIPTextConfig(**_TEXT))


@torch.no_grad()
def _control(unet: UNet2DConditionModel) -> ControlNetModel:
    """A control net with random zero convolutions, so that its residuals are not zero."""
    control = control_from_unet(unet)
    for name, parameter in control.named_parameters():
        if name.startswith("controlnet_"):
            parameter.normal_(std=_CONTROL_STD)
    return control
