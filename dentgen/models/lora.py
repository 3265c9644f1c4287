"""LoRAs of the UNet and text encoder, fused into the weights at load time, so that they cost nothing at inference.

Module names may be spelt as by kohya's trainer (diffusers' or LDM's names joined by underscores), by diffusers
(``unet.``, ``text_encoder.``) or by peft. They are looked up among the network's modules; an unknown name is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel

from dentgen.errors import BundleError
from dentgen.models.checkpoints.file import read_tensors
from dentgen.models.checkpoints.ldm_keys import layout_of_config, unet_names
from dentgen.models.lora_options import LoraOptions, Network, read_lora_options
from dentgen.models.weights import Change

_SIDES: Final = {
    "lora_down.weight": "down", "lora_A.weight": "down", "lora.down.weight": "down", "lora_A.default.weight": "down",
    "lora_linear_layer.down.weight": "down", "lora_up.weight": "up", "lora_B.weight": "up", "lora.up.weight": "up",
    "lora_B.default.weight": "up", "lora_linear_layer.up.weight": "up", "alpha": "alpha",
}  # fmt: skip
#: diffusers' oldest format: ``attn1.processor.to_q_lora.down.weight``.
_PROCESSOR: Final = re.compile(r"^(.*?)(?:\.processor)?\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight$")
_PREFIXES: Final = ("base_model.model.", "unet.", "text_encoder.", "text_model.")
#: What else is trained like a LoRA, by a part of its tensors' names.
_OTHER_KINDS: Final = {
    "dora_scale": "DoRA", "lora_magnitude_vector": "DoRA", "hada_": "LoHa", "lokr_": "LoKr", "oft_": "OFT",
    "boft_": "BOFT", "lora_mid": "a LoCon with a Tucker core", "lora_embedding_": "a LoRA of an embedding",
    "ia3_": "IA3", "on_input": "IA3", "bias": "a LoRA with biases", ".diff": "full differences of weights",
    "modules_to_save": "a LoRA with modules trained in full",
}  # fmt: skip
#: Relative difference of two statements of one scale: files round alpha to fp16.
_SAME_SCALE: Final = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class LoraLayer:
    """The change of one weight: ``up @ down * scale`` (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

    Attributes:
        down: (rank, in) or (rank, in, h, w).
        up: (out, rank) or (out, rank, 1, 1).
        alpha: Numerator of the scale; equal to the rank if the file names none.
        rank_stabilised: Whether the scale is alpha / sqrt(rank) instead of alpha / rank.
    """

    down: Tensor
    up: Tensor
    alpha: float
    rank_stabilised: bool = False

    @property
    def scale(self) -> float:
        """Factor on the product of the two matrices."""
        rank = self.down.shape[0]
        return self.alpha / (math.sqrt(rank) if self.rank_stabilised else rank)

    def delta(self, like: Tensor) -> Tensor:
        """The change in the shape of a weight, float32."""
        product = self.up.float().flatten(1) @ self.down.float().flatten(1)
        return (product * self.scale).view(like.shape)


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
    return parse_lora(str(file), read_tensors(file), unet, text_encoder, read_lora_options(file))


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


def parse_lora(
    source: str,
    tensors: Mapping[str, Tensor],
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    options: Mapping[Network, LoraOptions] | None = None,
) -> Lora:
    """Assign every tensor of a LoRA to a module.

    Args:
        source: File, for messages.
        tensors: Its tensors.
        unet: UNet that the LoRA must fit, on any device.
        text_encoder: Text encoder that the LoRA must fit, on any device.
        options: Its description.

    Raises:
        BundleError: If a tensor belongs to no module, lacks its other half, has a shape that does not fit, or disagrees
            with the description.
    """
    options, layers = options or {}, _placed(source, tensors, {**_unet_places(unet), **_text_places(text_encoder)})
    parsed: dict[Network, dict[str, LoraLayer]] = {"unet": {}, "text_encoder": {}}
    for (net, module), sides in layers.items():
        weight = (unet if net == "unet" else text_encoder).get_submodule(module).weight
        layer = _layer(source, net, module, sides, options.get(net, LoraOptions()))
        _check_fit(source, f"{net} {module}", layer, weight)
        parsed[net][module] = layer
    return Lora(parsed["unet"], parsed["text_encoder"])


def check_lora(
    source: str,
    tensors: Mapping[str, Tensor],
    families: Iterable[tuple[UNet2DConditionModel, CLIPTextModel]],
    options: Mapping[Network, LoraOptions],
) -> None:
    """Check what can be known of a LoRA without the bundle that it is for.

    Args:
        source: File, for messages.
        tensors: Its tensors.
        families: Networks whose modules it may name; their widths do not matter.
        options: Its description.

    Raises:
        BundleError: As of ``parse_lora``, but for shapes of weights.
    """
    places: dict[str, tuple[Network, str]] = {}
    for unet, text_encoder in families:
        places |= {**_unet_places(unet), **_text_places(text_encoder)}
    for (net, module), sides in _placed(source, tensors, places).items():
        _layer(source, net, module, sides, options.get(net, LoraOptions()))


def lora_change(layers: Mapping[str, Mapping[str, LoraLayer]], scales: Mapping[str, float]) -> Change:
    """What adds LoRAs to a network's weights, in float32 and in order of their names; a scale of 0 changes no bit.

    Args:
        layers: Layers by module, of every LoRA.
        scales: Their scales.
    """
    names = [name for name in sorted(layers) if scales[name] != 0]

    def change(parameter: str, value: Tensor) -> Tensor:
        module, _, kind = parameter.rpartition(".")
        for name in names:
            if kind == "weight" and (layer := layers[name].get(module)) is not None:
                value = value.float() + scales[name] * layer.delta(value)
        return value

    return change


def _unet_places(unet: UNet2DConditionModel) -> dict[str, tuple[Network, str]]:
    """Net and module path by every spelling of a module's name."""
    names = unet_names(layout_of_config(unet.config))
    places: dict[str, tuple[Network, str]] = {}
    for path in _modules(unet):
        ldm = names.ldm(f"{path}.weight").removesuffix(".weight")
        for spelling in (path, f"lora_unet_{path.replace('.', '_')}", f"lora_unet_{ldm.replace('.', '_')}"):
            places[spelling] = ("unet", path)
    return places


def _text_places(text_encoder: CLIPTextModel) -> dict[str, tuple[Network, str]]:
    places: dict[str, tuple[Network, str]] = {}
    for path in _modules(text_encoder):
        bare = path.removeprefix("text_model.")
        for spelling in (bare, f"lora_te_{bare.replace('.', '_')}"):
            places[spelling] = ("text_encoder", path)
    return places


def _placed(
    source: str, tensors: Mapping[str, Tensor], places: Mapping[str, tuple[Network, str]]
) -> dict[tuple[Network, str], dict[str, Tensor]]:
    """The tensors of each module by side."""
    layers: dict[tuple[Network, str], dict[str, Tensor]] = {}
    for key in sorted(tensors):
        module, side = _split(source, key)
        if module not in places:
            expected = "linear layers and convolutions of the bundle's UNet and text encoder"
            raise BundleError(file=source, key=key, found="no such module in the bundle", expected=expected)
        sides = layers.setdefault(places[module], {})
        if side in sides:
            found = f"a second {side} of {' '.join(places[module])}"
            raise BundleError(file=source, key=key, found=found, expected="one, in one spelling")
        sides[side] = tensors[key]
    return layers


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
            kind = next((f"{kind} is not supported" for part, kind in _OTHER_KINDS.items() if part in key), "")
            raise BundleError(kind, file=source, key=key, found="an unknown kind of tensor", expected=expected)
        module, side = key.removesuffix(f".{max(ends, key=len)}"), _SIDES[max(ends, key=len)]
    for prefix in _PREFIXES:
        module = module.removeprefix(prefix)
    return re.sub(r"^lora_te1?_(text_model_)?", "lora_te_", module), side


def _attention(module: str, part: str) -> str:
    """Name of an attention projection in transformers' CLIP or in diffusers."""
    if module.endswith("self_attn"):
        return {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}[part]
    return "to_out.0" if part == "to_out" else part


def _layer(source: str, net: Network, module: str, halves: Mapping[str, Tensor], options: LoraOptions) -> LoraLayer:
    """A layer whose halves, alpha and description agree."""
    key = f"{net} {module}"
    if missing := {"down", "up"} - halves.keys():
        raise BundleError(file=source, key=key, found=f"no {min(missing)} half of the LoRA", expected="both halves")
    down, up = halves["down"], halves["up"]
    for half in (down, up):
        if not half.is_floating_point() or half.is_meta:
            raise BundleError(file=source, key=key, found=f"values of {half.dtype}", expected="floating-point numbers")
    rank, shapes = down.shape[:1].numel(), f"shapes {list(down.shape)} and {list(up.shape)}"
    if min(down.ndim, up.ndim) < 2 or not rank or up[:1].numel() != rank:
        raise BundleError(file=source, key=key, found=shapes, expected="[rank, in] and [out, rank]")
    # transformers once put the text encoder into a module of its own.
    names = (module,) if net == "unet" else (module, f"text_model.{module}")
    if (wanted := options.rank_of(*names)) not in (None, rank):
        raise BundleError(file=source, key=key, found=f"rank {rank}", expected=f"{wanted}, as in {options.source}")
    described = options.alpha_of(*names)
    if "alpha" not in halves:
        return LoraLayer(
            down, up, rank if described is None else described, options.rank_stabilised and described is not None
        )
    layer = LoraLayer(down, up, _number(source, f"{key} alpha", halves["alpha"]))
    if described is not None and not math.isclose(layer.scale, options.scale(described, rank), rel_tol=_SAME_SCALE):
        found, expected = f"alpha {layer.alpha:g}", f"{described:g}, as in {options.source}"
        raise BundleError(file=source, key=f"{key} alpha", found=found, expected=expected)
    return layer


def _number(source: str, key: str, value: Tensor) -> float:
    if value.numel() != 1:
        raise BundleError(file=source, key=key, found=f"shape {list(value.shape)}", expected="one number")
    number = value.item()
    if isinstance(number, complex) or not math.isfinite(number):
        raise BundleError(file=source, key=key, found=str(number), expected="a finite number")
    return float(number)


def _check_fit(source: str, key: str, layer: LoraLayer, weight: Any) -> None:
    """A 1 x 1 convolution and a linear layer may stand for each other; other kernels must have the weight's shape."""
    rank, outputs = layer.down.shape[0], weight.shape[0]
    if _padded(layer.down.shape[1:]) != _padded(weight.shape[1:]) or layer.up.shape[0] != outputs:
        found = f"shapes {list(layer.down.shape)} and {list(layer.up.shape)}"
        expected = f"{[rank, *weight.shape[1:]]} and {[outputs, rank]} for a weight of {list(weight.shape)}"
        raise BundleError(file=source, key=key, found=found, expected=expected)


def _padded(shape: torch.Size) -> tuple[int, ...]:
    return (*shape, *(1,) * (3 - len(shape)))
