"""LoRAs of the UNet and text encoder, fused into the weights at load time, so that they cost nothing at inference.

Module names may be spelt as by kohya's trainer (diffusers' or LDM's names joined by underscores), by diffusers
(``unet.``, ``text_encoder.``) or by peft. They are looked up among the network's modules; an unknown name is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import UNet2DConditionModel
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import CLIPTextModel

from dentgen.errors import BundleError
from dentgen.models.checkpoints.file import read_tensors
from dentgen.models.checkpoints.ldm_keys import layout_of_config, unet_names

#: peft's config of a LoRA, next to the weights or (diffusers) in the header of the weights file.
CONFIG: Final = "adapter_config.json"
_HEADER: Final = "lora_adapter_metadata"
_SIDES: Final = {
    "lora_down.weight": "down", "lora_A.weight": "down", "lora.down.weight": "down", "lora_A.default.weight": "down",
    "lora_linear_layer.down.weight": "down", "lora_up.weight": "up", "lora_B.weight": "up", "lora.up.weight": "up",
    "lora_B.default.weight": "up", "lora_linear_layer.up.weight": "up", "alpha": "alpha",
}  # fmt: skip
#: diffusers' oldest format: ``attn1.processor.to_q_lora.down.weight``.
_PROCESSOR: Final = re.compile(r"^(.*?)(?:\.processor)?\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight$")
_PREFIXES: Final = ("base_model.model.", "unet.", "text_encoder.", "text_model.")
#: Options of peft's config that change more than ranks and scales.
_UNSUPPORTED: Final = ("use_dora", "use_rslora", "alpha_pattern", "modules_to_save", "lora_bias", "fan_in_fan_out")


@dataclass(frozen=True, slots=True, eq=False)
class LoraLayer:
    """The change of one weight: ``up @ down * alpha / rank`` (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

    Attributes:
        down: (rank, in) or (rank, in, h, w).
        up: (out, rank) or (out, rank, 1, 1).
        alpha: Numerator of the scale; equal to the rank if the file names none.
    """

    down: Tensor
    up: Tensor
    alpha: float

    def delta(self, like: Tensor) -> Tensor:
        """The change in the shape of a weight, float32."""
        rank = self.down.shape[0]
        product = self.up.float().flatten(1) @ self.down.float().flatten(1)
        return (product * (self.alpha / rank)).view(like.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Lora:
    """LoRA layers by module name, of the UNet and of the text encoder."""

    unet: Mapping[str, LoraLayer]
    text_encoder: Mapping[str, LoraLayer]


def load_lora(folder: Path, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> Lora:
    """Load a LoRA of a bundle.

    Args:
        folder: Folder of one safetensors file and, optionally, peft's ``adapter_config.json``.
        unet: UNet that the LoRA must fit, on any device.
        text_encoder: Text encoder that the LoRA must fit, on any device.

    Raises:
        BundleError: If it cannot be read or does not fit.
    """
    file = lora_file(folder)
    return parse_lora(str(file), read_tensors(file), unet, text_encoder, lora_options(file))


def lora_file(folder: Path) -> Path:
    """The one weights file of a LoRA's folder.

    Raises:
        BundleError: If there are none or several.
    """
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        found = str([file.name for file in files])
        raise BundleError(file=str(folder), found=found, expected="one safetensors file")
    return files[0]


def lora_options(file: Path) -> dict[str, Any]:
    """The config that peft wrote next to a LoRA or diffusers into its header; empty if there is none.

    Raises:
        BundleError: If it cannot be read.
    """
    config = file.parent / CONFIG
    try:
        if config.is_file():
            return dict(json.loads(config.read_text()))
        with safe_open(file, "pt") as opened:
            header = json.loads((opened.metadata() or {}).get(_HEADER, "{}"))
    except (OSError, ValueError, SafetensorError) as error:
        raise BundleError(f"the LoRA's config cannot be read: {error}", file=str(file)) from error
    return {str(name).rpartition(".")[2]: value for name, value in header.items()}


def parse_lora(
    source: str,
    tensors: Mapping[str, Tensor],
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    options: Mapping[str, Any] | None = None,
) -> Lora:
    """Assign every tensor of a LoRA to a module.

    Args:
        source: File, for messages.
        tensors: Its tensors.
        unet: UNet that the LoRA must fit, on any device.
        text_encoder: Text encoder that the LoRA must fit, on any device.
        options: peft's config.

    Raises:
        BundleError: If a tensor belongs to no module, lacks its other half, or has a shape that does not fit.
    """
    options = options or {}
    if unsupported := [name for name in _UNSUPPORTED if options.get(name)]:
        found = repr(options[unsupported[0]])
        raise BundleError(file=source, key=unsupported[0], found=found, expected="a plain LoRA without this option")
    places = {**_unet_places(unet), **_text_places(text_encoder)}
    halves: dict[tuple[str, str], dict[str, Tensor]] = {}
    for key in sorted(tensors):
        module, side = _split(source, key)
        if module not in places:
            expected = "linear layers and convolutions of the bundle's UNet and text encoder"
            raise BundleError(file=source, key=key, found="no such module in the bundle", expected=expected)
        halves.setdefault(places[module], {})[side] = tensors[key]
    layers: dict[str, dict[str, LoraLayer]] = {"unet": {}, "text_encoder": {}}
    for (net, module), sides in halves.items():
        weight = (unet if net == "unet" else text_encoder).get_submodule(module).weight
        layers[net][module] = _layer(source, f"{net} {module}", sides, weight, options)
    return Lora(layers["unet"], layers["text_encoder"])


@torch.no_grad()
def fuse_loras(
    unet: UNet2DConditionModel, text_encoder: CLIPTextModel, loras: Mapping[str, Lora], scales: Mapping[str, float]
) -> None:
    """Add LoRAs to float32 weights, in place, in order of their names; a scale of 0 changes no bit."""
    for name in sorted(loras):
        if scales[name] == 0:
            continue
        for net, layers in ((unet, loras[name].unet), (text_encoder, loras[name].text_encoder)):
            for module, layer in layers.items():
                weight = net.get_submodule(module).weight
                weight += scales[name] * layer.delta(weight)


def _unet_places(unet: UNet2DConditionModel) -> dict[str, tuple[str, str]]:
    """Net and module path by every spelling of a module's name."""
    names = unet_names(layout_of_config(unet.config))
    places = {}
    for path in _modules(unet):
        ldm = names.ldm(f"{path}.weight").removesuffix(".weight")
        for spelling in (path, f"lora_unet_{path.replace('.', '_')}", f"lora_unet_{ldm.replace('.', '_')}"):
            places[spelling] = ("unet", path)
    return places


def _text_places(text_encoder: CLIPTextModel) -> dict[str, tuple[str, str]]:
    places = {}
    for path in _modules(text_encoder):
        bare = path.removeprefix("text_model.")
        for spelling in (bare, f"lora_te_{bare.replace('.', '_')}"):
            places[spelling] = ("text_encoder", path)
    return places


def _modules(net: nn.Module) -> list[str]:
    return [path for path, module in net.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]


def _split(source: str, key: str) -> tuple[str, str]:
    """A key's module name, without the prefixes common to all spellings, and its side (down, up or alpha)."""
    if found := _PROCESSOR.match(key):
        module, side = f"{found[1]}.{_attention(found[1], found[2])}", found[3]
    else:
        ends = [end for end in _SIDES if key.endswith(f".{end}")]
        if not ends:
            expected = "a plain LoRA of lora_down, lora_up and alpha"
            raise BundleError(file=source, key=key, found="an unknown kind of tensor", expected=expected)
        module, side = key.removesuffix(f".{max(ends, key=len)}"), _SIDES[max(ends, key=len)]
    for prefix in _PREFIXES:
        module = module.removeprefix(prefix)
    return re.sub(r"^lora_te1?_(text_model_)?", "lora_te_", module), side


def _attention(module: str, part: str) -> str:
    """Name of an attention projection in transformers' CLIP or in diffusers."""
    if module.endswith("self_attn"):
        return {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}[part]
    return "to_out.0" if part == "to_out" else part


def _layer(
    source: str, module: str, halves: Mapping[str, Tensor], weight: Tensor, options: Mapping[str, Any]
) -> LoraLayer:
    if missing := {"down", "up"} - halves.keys():
        raise BundleError(file=source, key=module, found=f"no {min(missing)} half of the LoRA", expected="both halves")
    down, up = halves["down"], halves["up"]
    rank = down.shape[:1].numel()
    wide_in, wide_out = weight.numel() // weight.shape[0], weight.shape[0]
    if min(down.ndim, up.ndim) < 2 or (down[:1].numel(), up.shape[0], up[:1].numel()) != (wide_in, wide_out, rank):
        found = f"shapes {list(down.shape)} and {list(up.shape)}"
        expected = f"[{rank}, {wide_in}] and [{wide_out}, {rank}] for a weight of {list(weight.shape)}"
        raise BundleError(file=source, key=module, found=found, expected=expected)
    alpha = halves.get("alpha")
    if alpha is None:
        return LoraLayer(down, up, float(options.get("lora_alpha", rank)))
    if alpha.numel() != 1:
        raise BundleError(file=source, key=f"{module} alpha", found=f"shape {list(alpha.shape)}", expected="one number")
    return LoraLayer(down, up, float(alpha))
