"""Weights of a bundle as a single-file checkpoint in LDM's layout."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from dentgen.models.bundle import Bundle
from dentgen.models.checkpoints.ldm_keys import layout_of_config, unet_names

_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def ldm_vae_name(name: str, levels: int) -> str:
    """LDM's name of one of diffusers' autoencoder tensors: up blocks are counted from the other end."""
    name = re.sub(r"decoder\.up_blocks\.(\d+)", lambda found: f"decoder.up.{levels - 1 - int(found[1])}", name)
    name = name.replace("down_blocks", "down").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
    name = name.replace("resnets", "block").replace("downsamplers.0", "downsample").replace("upsamplers.0", "upsample")
    if "mid_block.attentions.0" in name:
        for diffusers, ldm in _ATTENTION.items():
            name = name.replace(f"attentions.0.{diffusers}.", f"attentions.0.{ldm}.")
        name = name.replace("mid_block.attentions.0", "mid.attn_1")
    return name.replace("conv_norm_out", "norm_out")


def ldm_tensors(bundle: Bundle) -> dict[str, Tensor]:
    """A bundle's weights as LDM code saves them, with what a training checkpoint has besides."""
    names = unet_names(layout_of_config(bundle.unet.config))
    tensors = {f"model.diffusion_model.{names.ldm(n)}": v for n, v in bundle.unet.state_dict().items()}
    for name, value in bundle.vae.state_dict().items():
        ldm = ldm_vae_name(name, len(bundle.vae.config["block_out_channels"]))
        convolution = ".attn_1." in ldm and value.ndim == 2
        tensors[f"first_stage_model.{ldm}"] = value[:, :, None, None] if convolution else value
    text = "cond_stage_model.transformer.text_model."
    tensors |= {text + n: v for n, v in bundle.text_encoder.state_dict().items()}
    tensors[f"{text}embeddings.position_ids"] = torch.arange(77)[None]
    return {**tensors, "betas": torch.zeros(1000), "model_ema.decay": torch.zeros(())}
