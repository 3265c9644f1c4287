"""Loading of a bundle's single parts: tokenizer, text encoder, autoencoder, UNet and tiny decoder."""

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

_VOCABULARIES: Final = ("tokenizer.json", "vocab.json")
_LOAD_ERRORS: Final = (OSError, ValueError, RuntimeError, KeyError, SafetensorError)


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """Load a tokenizer; transformers alone would make an empty one of a folder without vocabulary.

    Raises:
        BundleError: If it cannot be read or has no vocabulary.
    """
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        raise BundleError(file=str(folder), found=f"no {' or '.join(_VOCABULARIES)}", expected="a CLIP tokenizer")
    try:
        return CLIPTokenizer.from_pretrained(folder)
    except _LOAD_ERRORS as error:
        raise BundleError(f"cannot be loaded: {error}", file=str(folder)) from error


def load_text_encoder(folder: Path, dtype: torch.dtype) -> CLIPTextModel:
    """Load a text encoder; transformers alone would initialise missing tensors at random.

    Raises:
        BundleError: If it cannot be read or lacks a tensor.
    """
    transformers_logging.disable_progress_bar()
    try:
        model, info = CLIPTextModel.from_pretrained(folder, dtype=dtype, use_safetensors=True, output_loading_info=True)
    except _LOAD_ERRORS as error:
        raise BundleError(f"cannot be loaded: {error}", file=str(folder)) from error
    if missing := sorted(info["missing_keys"]):
        raise _missing_tensor(str(folder), missing[0], model)
    return model


def load_vae(folder: Path, dtype: torch.dtype) -> AutoencoderKL:
    """Load an autoencoder.

    Raises:
        BundleError: If it cannot be read or lacks a tensor.
    """
    return _load(AutoencoderKL, folder, dtype)


def load_unet(folder: Path, dtype: torch.dtype) -> UNet2DConditionModel:
    """Load a UNet.

    Raises:
        BundleError: If it cannot be read or lacks a tensor.
    """
    return _load(UNet2DConditionModel, folder, dtype)


def load_tiny_decoder(folder: Path, vae: AutoencoderKL, dtype: torch.dtype) -> AutoencoderTiny:
    """Load a distilled decoder.

    Raises:
        BundleError: If it is missing, cannot be read, or does not decode the latents of ``vae``.
    """
    if not folder.is_dir():
        expected = "a folder of diffusers' AutoencoderTiny"
        raise BundleError(file=str(folder.parent), found=f"no {TINY_DECODER}", expected=expected)
    tiny_decoder: AutoencoderTiny = _load(AutoencoderTiny, folder, dtype)
    found, expected = _latent_format(tiny_decoder), _latent_format(vae)
    if found != expected:
        raise BundleError(file=str(folder), found=found, expected=f"{expected}, as the autoencoder")
    return tiny_decoder


def chosen_part(folder: Path, kind: str, part: str, suffix: str = "") -> Path:
    """Path of a part that a spec names: a subfolder of ``kind``, or a file if there is a suffix.

    Raises:
        BundleError: If there is no such part.
    """
    path = folder / kind / f"{part}{suffix}"
    is_path = part in {"", ".", ".."} or Path(part).name != part
    if is_path or not (path.is_file() if suffix else path.is_dir()):
        expected = f"one of {known_parts(folder, kind, suffix)}"
        raise BundleError(file=str(folder / kind), found=f"no {part!r}", expected=expected)
    return path


def known_parts(folder: Path, kind: str, suffix: str = "") -> list[str]:
    """Sorted names of a bundle's parts of one kind."""
    paths = (folder / kind).glob(f"*{suffix}")
    return sorted(p.name.removesuffix(suffix) for p in paths if (p.is_file() if suffix else p.is_dir()))


def check_complete(source: str, net: nn.Module) -> None:
    """Check that all parameters have values; diffusers leaves tensors that a file lacks on the meta device.

    Raises:
        BundleError: If there are such parameters.
    """
    missing = [parameter for parameter, values in net.named_parameters() if values.is_meta]
    if missing:
        raise _missing_tensor(source, missing[0], net)


def _missing_tensor(source: str, name: str, net: nn.Module) -> BundleError:
    expected = f"every tensor of {type(net).__name__}"
    return BundleError(file=source, key=name, found="no such tensor in the weights", expected=expected)


def _load(model_class: Any, folder: Path, dtype: torch.dtype) -> Any:
    try:
        model = model_class.from_pretrained(folder, torch_dtype=dtype, use_safetensors=True)
    except _LOAD_ERRORS as error:
        raise BundleError(f"cannot be loaded: {error}", file=str(folder)) from error
    check_complete(str(folder), model)
    return model


def _latent_format(autoencoder: AutoencoderKL | AutoencoderTiny) -> str:
    """Channels of a latent and pixels along its edge."""
    return f"latents of {autoencoder.config['latent_channels']} channels and {downscale_of(autoencoder)} pixels"
