"""ctrLoRA's published checkpoints as parts of a bundle: the base as diffusers' control net, the rest as a peft adapter.

Values are taken over as they are, in their own precision. A base file also holds the LoRA of the task that was trained
last; it belongs to no bundle and is left out, as ctrLoRA's own code does (xyfJASON/ctrlora). Refuses to know other
kinds of checkpoints and how a control net runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor

from dentgen.errors import BundleError
from dentgen.models.checkpoints.file import CONTROL, check_tensors, write_tensors
from dentgen.models.checkpoints.ldm_keys import Layout, LdmNames, control_names, layout_of_config, layout_of_control
from dentgen.models.control import (
    ADAPTER_WEIGHTS,
    PEFT,
    SAVED_WHOLE,
    WEIGHTS,
    NoHint,
    adapter_config,
    control_from_unet,
    expected_adapter,
    is_target,
)

_LORA: Final = ".lora_layer."
#: Of Stable Diffusion 1.5 and of ctrLoRA; no weight tells the number of attention heads.
_HEADS: Final = 8
_CLASS: Final = {"base_model_class": "ControlNetModel", "parent_library": "diffusers.models.controlnets.controlnet"}


@dataclass(frozen=True, slots=True, eq=False)
class ControlBase:
    """A control net without weights of its own: a model on the meta device, and the tensors that belong into it."""

    model: ControlNetModel
    tensors: Mapping[str, Tensor]

    def write(self, folder: Path) -> None:
        """Write it in diffusers' layout."""
        self.model.save_config(folder)
        write_tensors(self.tensors, folder / WEIGHTS)


@dataclass(frozen=True, slots=True, eq=False)
class ControlAdapter:
    """An adapter of a control net, named as in the net: LoRA pairs, zero convolutions and attention norms."""

    rank: int
    tensors: Mapping[str, Tensor]

    def write(self, folder: Path) -> None:
        """Write it in peft's layout."""
        whole = {name.rpartition(".")[0] for name in self.tensors if ".lora_" not in name}
        config = adapter_config(sorted(whole), self.rank)
        config.auto_mapping, config.inference_mode = _CLASS, True
        config.save_pretrained(str(folder))
        write_tensors({PEFT + name: value for name, value in self.tensors.items()}, folder / ADAPTER_WEIGHTS)


def ctrlora_base(source: str, tensors: Mapping[str, Tensor], unet: UNet2DConditionModel | None = None) -> ControlBase:
    """Diffusers' control net of a ctrLoRA base.

    Args:
        source: File, for messages.
        tensors: Its tensors; those of other models and of LoRA layers are left out.
        unet: The UNet that it is meant for, on any device; otherwise the layout is read off the tensors.

    Raises:
        BundleError: If tensors lack, are too many or have other shapes.
    """
    own = {name: value for name, value in _control_tensors(source, tensors).items() if _LORA not in name}
    layout = _layout(source, own, unet)
    names = control_names(layout)
    with torch.device("meta"):
        if unet is not None:
            model = control_from_unet(UNet2DConditionModel.from_config(unet.config))
        else:
            model = ControlNetModel.from_config(_config(source, own, layout))
            model.controlnet_cond_embedding = NoHint()
    renamed = _renamed(source, own, names)
    check_tensors(source, renamed, model.state_dict(), _speller(names))
    return ControlBase(model, renamed)


def ctrlora_adapter(
    source: str, tensors: Mapping[str, Tensor], control: ControlNetModel | None = None
) -> ControlAdapter:
    """A peft adapter of what ctrLoRA trains for one condition.

    Args:
        source: File, for messages.
        tensors: Its tensors; those that ctrLoRA does not train are left out.
        control: The base that it is meant for, on any device; otherwise only the adapter's own shapes are compared.

    Raises:
        BundleError: If tensors lack, are too many, or do not fit each other or the base.
    """
    own = {name: value for name, value in _control_tensors(source, tensors).items() if _trained(name)}
    names = control_names(_layout(source, own, control))
    renamed = _renamed(source, own, names)
    rank = _rank(source, renamed)
    check_tensors(source, renamed, _expected_adapter(renamed, names, control, rank), _speller(names))
    return ControlAdapter(rank, renamed)


def _control_tensors(source: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    own = {name.removeprefix(CONTROL): value for name, value in tensors.items() if name.startswith(CONTROL)}
    hints = [name for name in own if name.startswith("input_hint_block.")]
    if hints:
        raise BundleError(
            f"{source}: found {CONTROL}{min(hints)}, a ControlNet with a pixel hint, expected a ctrLoRA base without"
        )
    # The lists that ctrLoRA's training keeps for its other tasks.
    return {name: value for name, value in own.items() if not name.startswith(("loras_", "zero_convs_", "norms_"))}


def _layout(source: str, tensors: Mapping[str, Tensor], net: UNet2DConditionModel | ControlNetModel | None) -> Layout:
    try:
        layout = layout_of_control(tensors.keys())
    except BundleError as error:
        raise BundleError(f"{source}: {CONTROL}*: {error}") from error
    expected = layout if net is None else layout_of_config(net.config)
    if layout != expected:
        raise BundleError(f"{source}: found a {layout}, expected a {expected} as in the bundle")
    return layout


def _trained(name: str) -> bool:
    return any(part in name for part in ("lora_layer", "zero_convs", "middle_block_out", "norm"))


def _renamed(source: str, tensors: Mapping[str, Tensor], names: LdmNames) -> dict[str, Tensor]:
    try:
        return {names.diffusers(name): value for name, value in tensors.items()}
    except BundleError as error:
        raise BundleError(f"{source}: {error}") from error


def _speller(names: LdmNames) -> Any:
    return lambda name: CONTROL + names.ldm(name)


def _config(source: str, tensors: Mapping[str, Tensor], layout: Layout) -> dict[str, Any]:
    """A control net's config by the shapes of its tensors."""
    try:
        stem = tensors["input_blocks.0.0.weight"]
        widths = [tensors[f"zero_convs.{1 + i * (layout.layers + 1)}.0.weight"].shape[0]
                  for i in range(len(layout.attended))]  # fmt: skip
        context = tensors["middle_block.1.transformer_blocks.0.attn2.to_k.weight"].shape[1]
    except KeyError as error:
        raise BundleError(f"{source}: found no {CONTROL}{error.args[0]}, expected a whole ctrLoRA base") from error
    except IndexError as error:
        raise BundleError(f"{source}: found numbers in place of convolutions, expected a ctrLoRA base") from error
    return {
        "in_channels": stem.shape[1],
        "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in layout.attended],
        "block_out_channels": widths,
        "layers_per_block": layout.layers,
        "transformer_layers_per_block": layout.depth,
        "cross_attention_dim": context,
        "attention_head_dim": _HEADS,
    }


def _rank(source: str, tensors: Mapping[str, Tensor]) -> int:
    ranks = {value.shape[:1].numel() for name, value in tensors.items() if name.endswith(".lora_A.weight")}
    if len(ranks) != 1:
        raise BundleError(f"{source}: found LoRA layers of ranks {sorted(ranks)}, expected one rank")
    return ranks.pop()


def _expected_adapter(
    found: Mapping[str, Tensor], names: LdmNames, control: ControlNetModel | None, rank: int
) -> dict[str, Tensor]:
    if control is not None:
        return expected_adapter(control, rank)
    expected: dict[str, Tensor] = {}
    for module in names.modules().values():
        if SAVED_WHOLE.match(module):
            expected |= {f"{module}.{kind}": found.get(f"{module}.{kind}", _NOWHERE) for kind in ("weight", "bias")}
        elif is_target(module):
            down, up = (found.get(f"{module}.lora_{side}.weight", _NOWHERE) for side in "AB")
            expected[f"{module}.lora_A.weight"] = torch.empty(rank, *down.shape[1:2], device="meta")
            expected[f"{module}.lora_B.weight"] = torch.empty(*up.shape[:1], rank, device="meta")
    return expected


#: Stands for a tensor that is not there; its absence is found before its shape.
_NOWHERE: Final = torch.empty(0, device="meta")
