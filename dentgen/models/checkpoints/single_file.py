"""Stable Diffusion 1.5 in one file, as LDM code and most model sites have it, as a bundle's folder.

A file has weights only. Configurations, tokenizer and noise schedule come from a bundle of the same family, so nothing
is looked up anywhere. Refuses to know control nets and other families.
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
    """Tensors of the three networks as diffusers and transformers name them, and the bundle that has the rest."""

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
    """Take a single-file checkpoint apart; averaged weights and the noise schedule's numbers are left out.

    Args:
        source: File, for messages.
        tensors: Its tensors.
        like: Folder of a bundle with the same networks.

    Raises:
        BundleError: If it is of another family, or its tensors are not those of the bundle's networks.
    """
    for prefix, family in _OTHER_FAMILIES.items():
        if strange := [name for name in tensors if name.startswith(prefix)]:
            raise BundleError(f"{source}: found {min(strange)}, {family}'s, expected Stable Diffusion 1.5")
    try:
        return SingleFile(
            unet=_unet(source, _within(source, tensors, UNET), like / "unet"),
            vae=_vae(source, _within(source, tensors, _VAE), like / "vae"),
            text_encoder=_text_encoder(source, _within(source, tensors, _TEXT), like / "text_encoder"),
            like=like,
        )
    except OSError as error:
        raise BundleError(f"{like}: {error}") from error


def _within(source: str, tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    if not own:
        raise BundleError(f"{source}: found no {prefix}*, expected UNet, autoencoder and text encoder")
    return own


def _unet(source: str, own: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    with torch.device("meta"):
        expected = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder))
    names = unet_names(layout_of_config(expected.config))
    try:
        renamed = {names.diffusers(name): value for name, value in own.items()}
    except BundleError as error:
        raise BundleError(f"{source}: {UNET}*: {error}, as {folder} has them") from error
    check_tensors(source, renamed, expected.state_dict(), lambda name: UNET + names.ldm(name))
    return renamed


def _vae(source: str, own: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    with torch.device("meta"):
        expected = AutoencoderKL.from_config(AutoencoderKL.load_config(folder))
    try:
        converted = convert_ldm_vae_checkpoint({_VAE + name: value for name, value in own.items()}, expected.config)
    except (KeyError, AttributeError, RuntimeError) as error:
        raise BundleError(f"{source}: {_VAE}*: found no {error}, expected an autoencoder of LDM") from error
    check_tensors(f"{source}: {_VAE}*", converted, expected.state_dict())
    # The converter leaves out what it does not know.
    strange = [name for name in own if name.startswith(("encoder.", "decoder.", "quant_conv.", "post_quant_conv."))]
    if len(strange) != len(converted):
        raise BundleError(f"{source}: {_VAE}*: found {len(strange)} tensors, expected {len(converted)} as in {folder}")
    return dict(converted)


def _text_encoder(source: str, own: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    with torch.device("meta"):
        expected = CLIPTextModel(CLIPTextConfig.from_pretrained(folder)).state_dict()
    # Older transformers wrap the model once more, and keep the positions' numbers as a tensor.
    found = {name.removeprefix("text_model."): value for name, value in own.items() if "position_ids" not in name}
    wanted = {name.removeprefix("text_model."): value for name, value in expected.items()}
    check_tensors(f"{source}: {_TEXT}*", found, wanted)
    return {name: found[name.removeprefix("text_model.")] for name in expected}
