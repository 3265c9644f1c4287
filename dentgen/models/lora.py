"""LoRAs of the UNet and text encoder, added into the weights once, so that the engine runs as fast as without.

Files may spell modules as kohya's trainer does (diffusers' or LDM's names joined by underscores), as diffusers does
(``unet.``, ``text_encoder.``) or as peft does. A name is looked up among the network's own modules, never guessed at:
what has no place is an error. Refuses to know control nets and their adapters.
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

#: peft's description of a LoRA, beside the weights or in the header of a file that diffusers saved.
CONFIG: Final = "adapter_config.json"
_HEADER: Final = "lora_adapter_metadata"
_SIDES: Final = {
    "lora_down.weight": "down", "lora_A.weight": "down", "lora.down.weight": "down", "lora_A.default.weight": "down",
    "lora_linear_layer.down.weight": "down", "lora_up.weight": "up", "lora_B.weight": "up", "lora.up.weight": "up",
    "lora_B.default.weight": "up", "lora_linear_layer.up.weight": "up", "alpha": "alpha",
}  # fmt: skip
#: Diffusers' first format: ``attn1.processor.to_q_lora.down.weight``.
_PROCESSOR: Final = re.compile(r"^(.*?)(?:\.processor)?\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight$")
_PREFIXES: Final = ("base_model.model.", "unet.", "text_encoder.", "text_model.")
#: Entries of peft's description that change more than ranks and scales.
_UNKNOWN_OPTIONS: Final = ("use_dora", "use_rslora", "alpha_pattern", "modules_to_save", "lora_bias", "fan_in_fan_out")


@dataclass(frozen=True, slots=True, eq=False)
class LoraLayer:
    """What a LoRA adds to one weight: up times down, times alpha over the rank.

    Attributes:
        down: (rank, in) or (rank, in, h, w).
        up: (out, rank) or (out, rank, 1, 1).
        alpha: Numerator of the scale; the rank where the file names none.
    """

    down: Tensor
    up: Tensor
    alpha: float

    def delta(self, like: Tensor) -> Tensor:
        """The change in the shape of the weight, float32."""
        rank = self.down.shape[0]
        product = self.up.float().flatten(1) @ self.down.float().flatten(1)
        return (product * (self.alpha / rank)).view(like.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Lora:
    """Layers by module name, of the UNet and of the text encoder."""

    unet: Mapping[str, LoraLayer]
    text_encoder: Mapping[str, LoraLayer]


def load_lora(folder: Path, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> Lora:
    """Read a bundle's LoRA.

    Args:
        folder: Holds one safetensors file, maybe with peft's ``adapter_config.json``.
        unet: Whose modules it may name; the device does not matter.
        text_encoder: Likewise.

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
        raise BundleError(f"{folder}: found {[file.name for file in files]}, expected one safetensors file")
    return files[0]


def lora_options(file: Path) -> dict[str, Any]:
    """Peft's description of a LoRA, from beside the file or from its header; empty where there is none.

    Raises:
        BundleError: If it cannot be read.
    """
    beside = file.parent / CONFIG
    try:
        if beside.is_file():
            return dict(json.loads(beside.read_text()))
        with safe_open(file, "pt") as opened:
            header = json.loads((opened.metadata() or {}).get(_HEADER, "{}"))
    except (OSError, ValueError, SafetensorError) as error:
        raise BundleError(f"{file}: {error}, expected a LoRA with a readable description") from error
    return {str(name).rpartition(".")[2]: value for name, value in header.items()}


def parse_lora(
    source: str,
    tensors: Mapping[str, Tensor],
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    options: Mapping[str, Any] | None = None,
) -> Lora:
    """Find the place of every tensor of a LoRA.

    Args:
        source: File, for messages.
        tensors: Its tensors.
        unet: Whose modules it may name; the device does not matter.
        text_encoder: Likewise.
        options: Peft's description.

    Raises:
        BundleError: If a tensor has no place, lacks its other half, or has a shape that does not fit.
    """
    options = options or {}
    if strange := [name for name in _UNKNOWN_OPTIONS if options.get(name)]:
        raise BundleError(f"{source}: found {strange[0]} {options[strange[0]]!r}, expected a plain LoRA")
    places = {**_unet_places(unet), **_text_places(text_encoder)}
    halves: dict[tuple[str, str], dict[str, Tensor]] = {}
    for key in sorted(tensors):
        module, side = _split(source, key)
        if module not in places:
            raise BundleError(
                f"{source}: found {key}, expected linear layers and convolutions of the bundle's UNet and text encoder"
            )
        halves.setdefault(places[module], {})[side] = tensors[key]
    layers: dict[str, dict[str, LoraLayer]] = {"unet": {}, "text_encoder": {}}
    for (net, module), found in halves.items():
        weight = (unet if net == "unet" else text_encoder).get_submodule(module).weight
        layers[net][module] = _layer(f"{source}: {net} {module}", found, weight, options)
    return Lora(layers["unet"], layers["text_encoder"])


@torch.no_grad()
def fuse_loras(
    unet: UNet2DConditionModel, text_encoder: CLIPTextModel, loras: Mapping[str, Lora], scales: Mapping[str, float]
) -> None:
    """Add LoRAs into float32 weights, in order of their names; a scale of 0 leaves every bit as it is."""
    for name in sorted(loras):
        if scales[name] == 0:
            continue
        for net, layers in ((unet, loras[name].unet), (text_encoder, loras[name].text_encoder)):
            for module, layer in layers.items():
                weight = net.get_submodule(module).weight
                weight += scales[name] * layer.delta(weight)


def _unet_places(unet: UNet2DConditionModel) -> dict[str, tuple[str, str]]:
    """Net and module by every spelling of the module."""
    names = unet_names(layout_of_config(unet.config))
    places = {}
    for path in _modules(unet):
        ldm = names.ldm(f"{path}.weight").removesuffix(".weight")
        for spelt in (path, f"lora_unet_{path.replace('.', '_')}", f"lora_unet_{ldm.replace('.', '_')}"):
            places[spelt] = ("unet", path)
    return places


def _text_places(text_encoder: CLIPTextModel) -> dict[str, tuple[str, str]]:
    places = {}
    for path in _modules(text_encoder):
        bare = path.removeprefix("text_model.")
        for spelt in (bare, f"lora_te_{bare.replace('.', '_')}"):
            places[spelt] = ("text_encoder", path)
    return places


def _modules(net: nn.Module) -> list[str]:
    return [path for path, module in net.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]


def _split(source: str, key: str) -> tuple[str, str]:
    """Spelling of the module, without prefixes that all spellings may have, and which half of its layer a key is."""
    if found := _PROCESSOR.match(key):
        module, side = f"{found[1]}.{_attention(found[1], found[2])}", found[3]
    else:
        ends = [end for end in _SIDES if key.endswith(f".{end}")]
        if not ends:
            raise BundleError(f"{source}: found {key}, expected a plain LoRA of lora_down, lora_up and alpha")
        module, side = key.removesuffix(f".{max(ends, key=len)}"), _SIDES[max(ends, key=len)]
    for prefix in _PREFIXES:
        module = module.removeprefix(prefix)
    return re.sub(r"^lora_te1?_(text_model_)?", "lora_te_", module), side


def _attention(module: str, part: str) -> str:
    if module.endswith("self_attn"):
        return {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}[part]
    return "to_out.0" if part == "to_out" else part


def _layer(place: str, found: Mapping[str, Tensor], weight: Tensor, options: Mapping[str, Any]) -> LoraLayer:
    if lacking := {"down", "up"} - found.keys():
        raise BundleError(f"{place}: found no {min(lacking)} half of the LoRA, expected both")
    down, up = found["down"], found["up"]
    rank = down.shape[:1].numel()
    wanted = (weight.numel() // weight.shape[0], weight.shape[0], rank)
    if min(down.ndim, up.ndim) < 2 or (down[:1].numel(), up.shape[0], up[:1].numel()) != wanted:
        raise BundleError(
            f"{place}: found shapes {list(down.shape)} and {list(up.shape)}, "
            f"expected [{rank}, {wanted[0]}] and [{wanted[1]}, {rank}] for a weight of {list(weight.shape)}"
        )
    if "alpha" in found and found["alpha"].numel() != 1:
        raise BundleError(f"{place}: alpha: found shape {list(found['alpha'].shape)}, expected one number")
    alpha = float(found["alpha"]) if "alpha" in found else float(options.get("lora_alpha", rank))
    return LoraLayer(down, up, alpha)
