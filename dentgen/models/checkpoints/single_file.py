"""Conversion of single-file Stable Diffusion 1.5 checkpoints (LDM's layout) to a bundle's folder.

Such a file has weights alone. Configs, tokenizer and scheduler come from a bundle of the same family, without any
download.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from dentgen.errors import BundleError
from dentgen.models.checkpoints.file import UNET, check_tensors, write_tensors
from dentgen.models.checkpoints.ldm_keys import layout_of_config, unet_names
from dentgen.models.control import WEIGHTS

_VAE: Final = "first_stage_model."
_TEXT: Final = "cond_stage_model.transformer."
_OTHER_FAMILIES: Final = {
    "conditioner.embedders.": "Stable Diffusion XL",
    "cond_stage_model.model.": "Stable Diffusion 2",
}
_TEXT_WEIGHTS: Final = "model.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class SingleFile:
    """Tensors of the three networks, by diffusers' and transformers' names, and the bundle that provides the rest."""

    unet: Mapping[str, Tensor]
    vae: Mapping[str, Tensor]
    text_encoder: Mapping[str, Tensor]
    like: Path

    def write(self, folder: Path) -> None:
        """Write a bundle without control nets."""
        for part, tensors in (("unet", self.unet), ("vae", self.vae), ("text_encoder", self.text_encoder)):
            weights = _TEXT_WEIGHTS if part == "text_encoder" else WEIGHTS
            write_tensors(tensors, folder / part / weights)
            shutil.copyfile(self.like / part / "config.json", folder / part / "config.json")
        for part in ("tokenizer", "scheduler"):
            shutil.copytree(self.like / part, folder / part)


def single_file(source: str, tensors: Mapping[str, Tensor], like: Path) -> SingleFile:
    """Split a single-file checkpoint into its networks; EMA weights and noise schedule buffers are dropped.

    Args:
        source: File, for messages.
        tensors: Its tensors.
        like: Folder of a bundle with the same networks.

    Raises:
        BundleError: If it is of another model family, or its tensors are not those of the bundle's networks.
    """
    for prefix, family in _OTHER_FAMILIES.items():
        if foreign := [name for name in tensors if name.startswith(prefix)]:
            found = f"a tensor of {family}"
            raise BundleError(file=source, key=min(foreign), found=found, expected="Stable Diffusion 1.5")
    try:
        return SingleFile(
            unet=_unet(source, _within(source, tensors, UNET), like / "unet"),
            vae=_vae(source, _within(source, tensors, _VAE), like / "vae"),
            text_encoder=_text_encoder(source, _within(source, tensors, _TEXT), like / "text_encoder"),
            like=like,
        )
    except OSError as error:
        raise BundleError(f"cannot be read: {error}", file=str(like)) from error


def _within(source: str, tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors under a prefix, without it."""
    own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    if not own:
        expected = "UNet, autoencoder and text encoder"
        raise BundleError(file=source, key=f"{prefix}*", found="no such tensors", expected=expected)
    return own


def _unet(source: str, own: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    with torch.device("meta"):
        expected = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder))
    names = unet_names(layout_of_config(expected.config))
    try:
        renamed = {names.diffusers(name): value for name, value in own.items()}
    except BundleError as error:
        error.file, error.key = source, UNET + error.key
        error.expected = f"the tensors of {folder}"
        raise
    check_tensors(source, renamed, expected.state_dict(), lambda name: UNET + names.ldm(name))
    return renamed


def _vae(source: str, own: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    with torch.device("meta"):
        expected = AutoencoderKL.from_config(AutoencoderKL.load_config(folder))
    try:
        converted = convert_ldm_vae_checkpoint({_VAE + name: value for name, value in own.items()}, expected.config)
    except (KeyError, AttributeError, RuntimeError) as error:
        message = f"not LDM's autoencoder: {error}"
        raise BundleError(message, file=source, key=f"{_VAE}*") from error
    check_tensors(source, converted, expected.state_dict(), lambda name: f"{_VAE}* ({name} in diffusers)")
    # The converter silently drops tensors that it does not know.
    relevant = [name for name in own if name.startswith(("encoder.", "decoder.", "quant_conv.", "post_quant_conv."))]
    if len(relevant) != len(converted):
        wanted = f"{len(converted)}, as in {folder}"
        raise BundleError(file=source, key=f"{_VAE}*", found=f"{len(relevant)} tensors", expected=wanted)
    return dict(converted)


def _text_encoder(source: str, own: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    with torch.device("meta"):
        expected = CLIPTextModel(CLIPTextConfig.from_pretrained(folder)).state_dict()
    # Older transformers add a level (text_model.) and save position ids as a tensor.
    found = {name.removeprefix("text_model."): value for name, value in own.items() if "position_ids" not in name}
    wanted = {name.removeprefix("text_model."): value for name, value in expected.items()}
    check_tensors(source, found, wanted, lambda name: f"{_TEXT}text_model.{name}")
    return {name: found[name.removeprefix("text_model.")] for name in expected}
