"""A bundle folder of Stable Diffusion 1.5's size with random weights, to measure loading without a download."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from diffusers import ControlNetModel
from torch import nn
from transformers import PreTrainedModel

from dentgen.models.adapter import PEFT, adapter_config, expected_adapter
from dentgen.models.bundle import BASE, MINIATURE, Bundle, find_bundle
from dentgen.models.bundle_files import ADAPTER_WEIGHTS
from dentgen.models.checkpoints.file import write_new, write_tensors
from dentgen.models.control import WEIGHTS
from dentgen.models.parts import ADAPTERS, CONTROLNET
from dentgen.models.sd15 import random_sd15
from dentgen.seeding import fresh_weights

#: Rank of ctrLoRA's published adapters.
RANK: Final = 128
_ADAPTER_STD: Final = 0.01


def write_random_bundle(
    folder: Path,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    adapters: Sequence[str] = ("segmentation", "lighting"),
) -> None:
    """Write a bundle of Stable Diffusion 1.5's architecture; tokenizer and scheduler are the miniature's.

    Takes about twice the bundle's size in memory.

    Args:
        folder: Folder to create.
        seed: Seed of the weights.
        dtype: Precision of the weights' files.
        adapters: Names of the ctrLoRA adapters, each of rank 128.

    Raises:
        BundleError: If the folder exists.
    """
    write_new(folder, lambda place: _write(place, seed, dtype, adapters))


def _write(folder: Path, seed: int, dtype: torch.dtype, adapters: Sequence[str]) -> None:
    write_parts(random_sd15(seed=seed), folder, seed=seed, dtype=dtype, adapters=adapters)


def write_parts(bundle: Bundle, folder: Path, *, seed: int, dtype: torch.dtype, adapters: Sequence[str]) -> None:
    """Write the networks of a bundle with a bare control base, and new random adapters."""
    parts: dict[str, nn.Module] = {
        "unet": bundle.unet, "vae": bundle.vae, "text_encoder": bundle.text_encoder, CONTROLNET: bundle.shared[BASE]
    }  # fmt: skip
    for name, net in parts.items():
        _write_network(net, folder / name, dtype)
    for name in ("tokenizer", "scheduler"):
        shutil.copytree(find_bundle(MINIATURE) / name, folder / name)
    for name in adapters:
        _write_adapter(bundle.shared[BASE], folder / ADAPTERS / name, dtype, seed, name)


def _write_network(net: nn.Module, folder: Path, dtype: torch.dtype) -> None:
    """Config and weights as the network's own library writes them."""
    tensors = {name: value.detach().to(dtype) for name, value in net.state_dict().items()}
    if isinstance(net, PreTrainedModel):
        write_tensors(tensors, folder / "model.safetensors")
        net.config.save_pretrained(folder)
    else:
        write_tensors(tensors, folder / WEIGHTS)
        net.save_config(folder)  # type: ignore[operator]


@torch.no_grad()
def _write_adapter(control: ControlNetModel, folder: Path, dtype: torch.dtype, seed: int, name: str) -> None:
    with fresh_weights(seed, "adapter", name):
        expected = expected_adapter(control, RANK)
        tensors = {PEFT + key: torch.empty(value.shape).normal_(std=_ADAPTER_STD) for key, value in expected.items()}
    write_tensors({key: value.to(dtype) for key, value in tensors.items()}, folder / ADAPTER_WEIGHTS)
    whole = sorted({key.rpartition(".")[0] for key in expected if ".lora_" not in key})
    adapter_config(whole, RANK).save_pretrained(str(folder))
