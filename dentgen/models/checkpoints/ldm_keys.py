"""Tensor names in LDM checkpoints and diffusers models, in both directions, for any number of levels and layers.

LDM is the code base of Stable Diffusion 1.5, the first ControlNet and ctrLoRA. It numbers blocks consecutively, while
diffusers groups them by level. All pairs of module names are enumerated, so both directions are dictionary look-ups.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dentgen.errors import BundleError

Pair = tuple[str, str]

_RESNET: Final = (
    ("in_layers.0", "norm1"), ("in_layers.2", "conv1"), ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"), ("out_layers.3", "conv2"), ("skip_connection", "conv_shortcut"),
)  # fmt: skip
#: Modules of one transformer block, with the same names on both sides.
_TRANSFORMER: Final = (
    "norm1", "norm2", "norm3", "ff.net.0.proj", "ff.net.2",
    *(f"attn{i}.{part}" for i in (1, 2) for part in ("to_q", "to_k", "to_v", "to_out.0")),
)  # fmt: skip
#: Suffixes of tensor names in LDM and diffusers; those of LoRA layers differ.
_ENDS: Final = {
    ".weight": ".weight",
    ".bias": ".bias",
    ".lora_layer.down.weight": ".lora_A.weight",
    ".lora_layer.up.weight": ".lora_B.weight",
}
_ATTENDED: Final = {"CrossAttnDownBlock2D": True, "DownBlock2D": False}


@dataclass(frozen=True, slots=True)
class Layout:
    """Structure of a UNet or control net, as far as it determines the names of its blocks.

    Attributes:
        attended: For each level, from the highest resolution, whether transformers follow the ResNet blocks.
        layers: ResNet blocks per level in the encoder.
        depth: Blocks per transformer.
    """

    attended: tuple[bool, ...]
    layers: int = 2
    depth: int = 1

    @property
    def input_blocks(self) -> int:
        """Encoder blocks: the first convolution, the ResNet blocks, and a downsampling between two levels."""
        return len(self.attended) * (self.layers + 1)


SD15_LAYOUT: Final = Layout(attended=(True, True, True, False))


class LdmNames:
    """Two-way mapping of tensor names between an LDM checkpoint and a diffusers model."""

    def __init__(self, pairs: Iterator[Pair]) -> None:
        """Build the mapping from pairs of module names, LDM's first."""
        self._pairs = dict(pairs)
        self._back = {diffusers: ldm for ldm, diffusers in self._pairs.items()}
        self._ends_back = {diffusers: ldm for ldm, diffusers in _ENDS.items()}

    def modules(self) -> Mapping[str, str]:
        """Diffusers' module names by LDM's, a superset of what exists: ResNet shortcuts depend on the widths."""
        return self._pairs

    def diffusers(self, name: str) -> str:
        """Name in the diffusers model of a tensor of an LDM checkpoint.

        Raises:
            BundleError: If the layout has no such tensor.
        """
        return _renamed(name, self._pairs, _ENDS)

    def ldm(self, name: str) -> str:
        """Name in an LDM checkpoint of a tensor of the diffusers model.

        Raises:
            BundleError: If the layout has no such tensor.
        """
        return _renamed(name, self._back, self._ends_back)


def _renamed(name: str, modules: Mapping[str, str], ends: Mapping[str, str]) -> str:
    for end in sorted(ends, key=len, reverse=True):
        module = modules.get(name.removesuffix(end)) if name.endswith(end) else None
        if module is not None:
            return module + ends[end]
    raise BundleError(key=name, found="an unknown tensor", expected=f"tensors of a layout of {len(modules)} modules")


def control_names(layout: Layout) -> LdmNames:
    """Names of a control net's tensors: the UNet's encoder, and a zero convolution after each block."""

    def pairs() -> Iterator[Pair]:
        yield from _encoder(layout)
        for i in range(layout.input_blocks):
            yield f"zero_convs.{i}.0", f"controlnet_down_blocks.{i}"
        yield "middle_block_out.0", "controlnet_mid_block"

    return LdmNames(pairs())


def unet_names(layout: Layout) -> LdmNames:
    """Names of a UNet's tensors."""

    def pairs() -> Iterator[Pair]:
        yield from _encoder(layout)
        yield from _decoder(layout)
        yield "out.0", "conv_norm_out"
        yield "out.2", "conv_out"

    return LdmNames(pairs())


def layout_of_config(config: Mapping[str, Any]) -> Layout:
    """Layout of a UNet or control net by its diffusers config.

    Raises:
        BundleError: If it has kinds of blocks that Stable Diffusion 1.5 does not have.
    """
    types, depth = config["down_block_types"], config["transformer_layers_per_block"]
    if not set(types) <= _ATTENDED.keys() or not isinstance(depth, int):
        found, expected = f"{list(types)} of depth {depth}", f"{sorted(_ATTENDED)} of one depth"
        raise BundleError(key="down_block_types", found=found, expected=expected)
    return Layout(tuple(_ATTENDED[kind] for kind in types), int(config["layers_per_block"]), depth)


def layout_of_control(names: Collection[str]) -> Layout:
    """Layout of a control net by the LDM names of its tensors; those that ctrLoRA trains suffice.

    Raises:
        BundleError: If they are not the tensors of a control net.
    """
    count = 1 + max((int(i) for i in _numbers(r"zero_convs\.(\d+)\.", names)), default=-1)
    resnets = {int(i) for i in _numbers(r"input_blocks\.(\d+)\.0\.emb_layers\.", names)}
    attentions = {int(i) for i in _numbers(r"input_blocks\.(\d+)\.1\.transformer_blocks\.", names)}
    downs = [i for i in range(1, count) if i not in resnets]
    layers = (downs[0] if downs else count) - 1
    if layers < 1 or downs != list(range(layers + 1, count, layers + 1)) or count % (layers + 1):
        found = f"{count} zero convolutions and ResNet blocks at input_blocks {sorted(resnets)}"
        expected = "equally many blocks at every level, with a downsampling between levels"
        raise BundleError(key="zero_convs", found=found, expected=expected)
    attended = tuple(first in attentions for first in range(1, count, layers + 1))
    depth = 1 + max((int(i) for i in _numbers(r"middle_block\.1\.transformer_blocks\.(\d+)\.", names)), default=0)
    return Layout(attended, layers, depth)


def _numbers(pattern: str, names: Collection[str]) -> set[str]:
    return {found[1] for name in names if (found := re.match(pattern, name))}


def _encoder(layout: Layout) -> Iterator[Pair]:
    """Module names of the encoder and the middle block."""
    yield "time_embed.0", "time_embedding.linear_1"
    yield "time_embed.2", "time_embedding.linear_2"
    yield "input_blocks.0.0", "conv_in"
    block = 1
    for level, attended in enumerate(layout.attended):
        for layer in range(layout.layers):
            yield from _resnet(f"input_blocks.{block}.0", f"down_blocks.{level}.resnets.{layer}")
            if attended:
                yield from _attention(f"input_blocks.{block}.1", f"down_blocks.{level}.attentions.{layer}", layout)
            block += 1
        if level + 1 < len(layout.attended):
            yield f"input_blocks.{block}.0.op", f"down_blocks.{level}.downsamplers.0.conv"
            block += 1
    yield from _resnet("middle_block.0", "mid_block.resnets.0")
    yield from _attention("middle_block.1", "mid_block.attentions.0", layout)
    yield from _resnet("middle_block.2", "mid_block.resnets.1")


def _decoder(layout: Layout) -> Iterator[Pair]:
    block = 0
    for level, attended in enumerate(reversed(layout.attended)):
        for layer in range(layout.layers + 1):
            yield from _resnet(f"output_blocks.{block}.0", f"up_blocks.{level}.resnets.{layer}")
            if attended:
                yield from _attention(f"output_blocks.{block}.1", f"up_blocks.{level}.attentions.{layer}", layout)
            if layer == layout.layers and level + 1 < len(layout.attended):
                yield f"output_blocks.{block}.{1 + attended}.conv", f"up_blocks.{level}.upsamplers.0.conv"
            block += 1


def _resnet(ldm: str, diffusers: str) -> Iterator[Pair]:
    for ldm_part, diffusers_part in _RESNET:
        yield f"{ldm}.{ldm_part}", f"{diffusers}.{diffusers_part}"


def _attention(ldm: str, diffusers: str, layout: Layout) -> Iterator[Pair]:
    for part in ("norm", "proj_in", "proj_out"):
        yield f"{ldm}.{part}", f"{diffusers}.{part}"
    for block in range(layout.depth):
        for part in _TRANSFORMER:
            inside = f"transformer_blocks.{block}.{part}"
            yield f"{ldm}.{inside}", f"{diffusers}.{inside}"
