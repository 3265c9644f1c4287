"""Single parts of a bundle folder, each loaded or refused with a reason. Refuses to know what a spec chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from safetensors import SafetensorError
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from dentgen.errors import BundleError
from dentgen.models.autoencoder import downscale_of

TINY_DECODER: Final = "tiny_decoder"
CONTROLNET: Final = "controlnet"
CONTROLNETS: Final = "controlnets"
ADAPTERS: Final = "adapters"
LORAS: Final = "loras"
EMBEDDINGS: Final = "embeddings"
REQUIRED: Final = ("tokenizer", "text_encoder", "vae", "unet", "scheduler")

_UNREADABLE: Final = (OSError, ValueError, RuntimeError, KeyError, SafetensorError)


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """Read a tokenizer.

    Raises:
        BundleError: If it cannot be read.
    """
    try:
        return CLIPTokenizer.from_pretrained(folder)
    except _UNREADABLE as error:
        raise BundleError(f"{folder}: {error}") from error


def load_text_encoder(folder: Path, dtype: torch.dtype) -> CLIPTextModel:
    """Read a text encoder. Transformers itself would fill what lacks with random numbers.

    Raises:
        BundleError: If it cannot be read or lacks a tensor.
    """
    transformers_logging.disable_progress_bar()
    try:
        model, info = CLIPTextModel.from_pretrained(folder, dtype=dtype, use_safetensors=True, output_loading_info=True)
    except _UNREADABLE as error:
        raise BundleError(f"{folder}: {error}") from error
    if missing := sorted(info["missing_keys"]):
        raise BundleError(f"{folder}: CLIPTextModel's weights lack {missing[0]}, expected every tensor")
    return model


def load_vae(folder: Path, dtype: torch.dtype) -> AutoencoderKL:
    """Read an autoencoder.

    Raises:
        BundleError: If it cannot be read or lacks a tensor.
    """
    return _load(AutoencoderKL, folder, dtype)


def load_unet(folder: Path, dtype: torch.dtype) -> UNet2DConditionModel:
    """Read a UNet.

    Raises:
        BundleError: If it cannot be read or lacks a tensor.
    """
    return _load(UNet2DConditionModel, folder, dtype)


def load_tiny_decoder(folder: Path, vae: AutoencoderKL, dtype: torch.dtype) -> AutoencoderTiny:
    """Read a distilled decoder.

    Raises:
        BundleError: If it cannot be read, or does not decode the latents of ``vae``.
    """
    if not folder.is_dir():
        raise BundleError(
            f"found no {TINY_DECODER} in {folder.parent}, expected a folder of diffusers' AutoencoderTiny"
        )
    tiny_decoder: AutoencoderTiny = _load(AutoencoderTiny, folder, dtype)
    (channels, pixels), (wanted_channels, wanted_pixels) = _latents_of(tiny_decoder), _latents_of(vae)
    if (channels, pixels) != (wanted_channels, wanted_pixels):
        raise BundleError(
            f"{folder}: found latents of {channels} channels and {pixels} pixels, "
            f"expected {wanted_channels} channels and {wanted_pixels} pixels as the vae's"
        )
    return tiny_decoder


def chosen_part(folder: Path, kind: str, part: str, suffix: str = "") -> Path:
    """Place of a part that a spec names: a folder of ``kind``, or with a suffix a file.

    Raises:
        BundleError: If it is not there.
    """
    place = folder / kind / f"{part}{suffix}"
    strange = part in {"", ".", ".."} or Path(part).name != part
    if strange or not (place.is_file() if suffix else place.is_dir()):
        raise BundleError(f"found no {part!r} in {kind}, expected one of {known_parts(folder, kind, suffix)}")
    return place


def known_parts(folder: Path, kind: str, suffix: str = "") -> list[str]:
    """Names of the parts of one kind that a bundle has."""
    there = (folder / kind).glob(f"*{suffix}")
    return sorted(p.name.removesuffix(suffix) for p in there if (p.is_file() if suffix else p.is_dir()))


def check_complete(source: str, net: nn.Module) -> None:
    """Diffusers loads a file that lacks tensors, and leaves their places empty.

    Raises:
        BundleError: If there are such places.
    """
    missing = [parameter for parameter, values in net.named_parameters() if values.is_meta]
    if missing:
        raise BundleError(f"{source}: {type(net).__name__}'s weights lack {missing[0]}, expected every tensor")


def _load(model_class: Any, folder: Path, dtype: torch.dtype) -> Any:
    try:
        model = model_class.from_pretrained(folder, torch_dtype=dtype, use_safetensors=True)
    except _UNREADABLE as error:
        raise BundleError(f"{folder}: {error}") from error
    check_complete(str(folder), model)
    return model


def _latents_of(autoencoder: AutoencoderKL | AutoencoderTiny) -> tuple[int, int]:
    """Channels of a latent and pixels along its edge."""
    return int(autoencoder.config["latent_channels"]), downscale_of(autoencoder)
