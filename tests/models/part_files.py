"""Files of bundle parts with random weights, for tests: LoRAs in every spelling, tiny decoders."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dentgen.models.bundle import Bundle, find_bundle
from dentgen.models.checkpoints.ldm_keys import layout_of_config, unet_names
from dentgen.models.lora import lora_file
from dentgen.seeding import fresh_weights

RANK, ALPHA = 4, 2.0


def save_tiny_decoder(bundle: Path, latent_channels: int = 4, blocks: int = 4) -> None:
    """Save a small tiny decoder into a bundle."""
    widths = (8,) * blocks
    with fresh_weights(0, "tiny decoder"):
        AutoencoderTiny(
            encoder_block_out_channels=widths, decoder_block_out_channels=widths, latent_channels=latent_channels,
            num_encoder_blocks=(1,) * blocks, num_decoder_blocks=(1,) * blocks,
        ).save_pretrained(bundle / "tiny_decoder")  # fmt: skip


def lora_halves(net: nn.Module, seed: int = 1) -> dict[str, tuple[Tensor, Tensor]]:
    """Down and up matrices for every linear layer and convolution of a network."""
    generator, halves = torch.Generator().manual_seed(seed), {}
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            weight = module.weight
            ones = (1, 1) if weight.ndim == 4 else ()
            down = 0.05 * torch.randn(RANK, *weight.shape[1:], generator=generator)
            halves[name] = down, 0.05 * torch.randn(weight.shape[0], RANK, *ones, generator=generator)
    return halves


def kohya_lora(bundle: Bundle, seed: int = 1) -> dict[str, Tensor]:
    """A LoRA of UNet and text encoder, spelt as by kohya's trainer."""
    nets = {"lora_unet_": bundle.unet, "lora_te_text_model_": bundle.text_encoder}
    tensors: dict[str, Tensor] = {}
    for prefix, net in nets.items():
        for name, (down, up) in lora_halves(net, seed).items():
            key = prefix + name.replace(".", "_")
            tensors |= {
                f"{key}.lora_down.weight": down,
                f"{key}.lora_up.weight": up,
                f"{key}.alpha": torch.tensor(ALPHA),
            }
    return tensors


def respelt_lora(bundle: Bundle, spelling: str) -> dict[str, Tensor]:
    """The same LoRA spelt with LDM's names, as by diffusers or as by peft; alphas where the format has them."""
    ldm = unet_names(layout_of_config(bundle.unet.config))
    tensors: dict[str, Tensor] = {}
    for name, (down, up) in lora_halves(bundle.unet).items():
        key, ends = {
            "ldm": (
                "lora_unet_" + ldm.ldm(f"{name}.weight").removesuffix(".weight").replace(".", "_"),
                "lora_{}.weight",
            ),
            "diffusers": (f"unet.{name}", "lora.{}.weight"),
            "peft": (f"base_model.model.{name}", "lora_{}.weight"),
        }[spelling]
        words = ("A", "B") if spelling == "peft" else ("down", "up")
        tensors |= {f"{key}.{ends.format(words[0])}": down, f"{key}.{ends.format(words[1])}": up}
        if spelling != "peft":
            tensors[f"{key}.alpha"] = torch.tensor(ALPHA)
    for name, (down, up) in lora_halves(bundle.text_encoder).items():
        text = f"text_encoder.text_model.{name}"
        tensors |= {f"{text}.lora_A.weight": down, f"{text}.lora_B.weight": up}
        tensors[f"{text}.alpha"] = torch.tensor(ALPHA)
    return tensors


def lcm_with_header(bundle: Path, name: str, header: dict[str, str]) -> Path:
    """Save the miniature's LCM-LoRA under another name with more texts in its header, and return its folder."""
    tensors = load_file(lora_file(find_bundle("miniature") / "loras" / "lcm"))
    return save_lora(bundle, name, tensors, {"format": "pt", **header})


def save_lora(bundle: Path, name: str, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    """Save a LoRA into a bundle, replacing any of that name, and return its folder."""
    folder = bundle / "loras" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "weights.safetensors", metadata=metadata)
    return folder


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have equal names and bits."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
