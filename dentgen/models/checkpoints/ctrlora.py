"""Conversion of ctrLoRA's published checkpoints: the base to a diffusers control net, the rest to a peft adapter.

Values keep their precision. A base file also contains the LoRA of the last training task, which is dropped, as in
ctrLoRA's own code (https://github.com/xyfJASON/ctrlora).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor

from dentgen.errors import BundleError
from dentgen.models.adapter import PEFT, SAVED_WHOLE, adapter_config, expected_adapter, is_target
from dentgen.models.bundle_files import ADAPTER_WEIGHTS
from dentgen.models.checkpoints.file import CONTROL, check_tensors, write_tensors
from dentgen.models.checkpoints.ldm_keys import Layout, LdmNames, control_names, layout_of_config, layout_of_control
from dentgen.models.control import WEIGHTS, NoHint, control_from_unet

_LORA: Final = ".lora_layer."
#: Attention heads of Stable Diffusion 1.5 and ctrLoRA; they cannot be inferred from the weights.
_HEADS: Final = 8
_CLASS: Final = {"base_model_class": "ControlNetModel", "parent_library": "diffusers.models.controlnets.controlnet"}


@dataclass(frozen=True, slots=True, eq=False)
class ControlBase:
    """A control net as a model on the meta device and its tensors."""

    model: ControlNetModel
    tensors: Mapping[str, Tensor]

    def write(self, folder: Path) -> None:
        """Write the control net in diffusers' layout."""
        self.model.save_config(folder)
        write_tensors(self.tensors, folder / WEIGHTS)


@dataclass(frozen=True, slots=True, eq=False)
class ControlAdapter:
    """Tensors of a control net's adapter, by their names in the net: LoRA pairs, zero convolutions, attention norms."""

    rank: int
    tensors: Mapping[str, Tensor]

    def write(self, folder: Path) -> None:
        """Write the adapter in peft's layout."""
        whole = {name.rpartition(".")[0] for name in self.tensors if ".lora_" not in name}
        config = adapter_config(sorted(whole), self.rank)
        config.auto_mapping, config.inference_mode = _CLASS, True
        config.save_pretrained(str(folder))
        write_tensors({PEFT + name: value for name, value in self.tensors.items()}, folder / ADAPTER_WEIGHTS)


def ctrlora_base(source: str, tensors: Mapping[str, Tensor], unet: UNet2DConditionModel | None = None) -> ControlBase:
    """Convert a ctrLoRA base to a diffusers control net.

    Args:
        source: File, for messages.
        tensors: Its tensors; those of other models and of LoRA layers are ignored.
        unet: UNet that the base must fit, on any device; if None, the layout is inferred from the tensors.

    Raises:
        BundleError: If tensors are missing, unexpected or of other shapes.
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
    check_tensors(source, renamed, model.state_dict(), _name_in_file(names))
    return ControlBase(model, renamed)


def ctrlora_adapter(
    source: str, tensors: Mapping[str, Tensor], control: ControlNetModel | None = None
) -> ControlAdapter:
    """Convert the tensors that ctrLoRA trains for one condition to a peft adapter.

    Args:
        source: File, for messages.
        tensors: Its tensors; those that ctrLoRA does not train are ignored.
        control: Base that the adapter must fit, on any device; if None, only the adapter's own shapes are checked.

    Raises:
        BundleError: If tensors are missing or unexpected, or do not fit each other or the base.
    """
    own = {name: value for name, value in _control_tensors(source, tensors).items() if _trained(name)}
    names = control_names(_layout(source, own, control))
    renamed = _renamed(source, own, names)
    rank = _rank(source, renamed)
    check_tensors(source, renamed, _expected_adapter(renamed, names, control, rank), _name_in_file(names))
    return ControlAdapter(rank, renamed)


def _control_tensors(source: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the control net, without prefix and without those of other training tasks."""
    own = {name.removeprefix(CONTROL): value for name, value in tensors.items() if name.startswith(CONTROL)}
    hints = [name for name in own if name.startswith("input_hint_block.")]
    if hints:
        found, expected = "a ControlNet with a pixel hint", "a ctrLoRA base without one"
        raise BundleError(file=source, key=CONTROL + min(hints), found=found, expected=expected)
    # ctrLoRA's training keeps the tensors of its other tasks in these lists.
    return {name: value for name, value in own.items() if not name.startswith(("loras_", "zero_convs_", "norms_"))}


def _layout(source: str, tensors: Mapping[str, Tensor], net: UNet2DConditionModel | ControlNetModel | None) -> Layout:
    try:
        layout = layout_of_control(tensors.keys())
    except BundleError as error:
        error.file, error.key = source, CONTROL + error.key
        raise
    expected = layout if net is None else layout_of_config(net.config)
    if layout != expected:
        raise BundleError(file=source, key=f"{CONTROL}*", found=str(layout), expected=f"{expected}, as in the bundle")
    return layout


def _trained(name: str) -> bool:
    return any(part in name for part in ("lora_layer", "zero_convs", "middle_block_out", "norm"))


def _renamed(source: str, tensors: Mapping[str, Tensor], names: LdmNames) -> dict[str, Tensor]:
    try:
        return {names.diffusers(name): value for name, value in tensors.items()}
    except BundleError as error:
        error.file, error.key = source, CONTROL + error.key
        raise


def _name_in_file(names: LdmNames) -> Callable[[str], str]:
    return lambda name: CONTROL + names.ldm(name)


def _config(source: str, tensors: Mapping[str, Tensor], layout: Layout) -> dict[str, Any]:
    """A control net's config, inferred from the shapes of its tensors."""
    try:
        stem = tensors["input_blocks.0.0.weight"]
        widths = [tensors[f"zero_convs.{1 + i * (layout.layers + 1)}.0.weight"].shape[0]
                  for i in range(len(layout.attended))]  # fmt: skip
        context = tensors["middle_block.1.transformer_blocks.0.attn2.to_k.weight"].shape[1]
    except KeyError as error:
        key, found = f"{CONTROL}{error.args[0]}", "no such tensor"
        raise BundleError(file=source, key=key, found=found, expected="a complete ctrLoRA base") from error
    except IndexError as error:
        key, found = f"{CONTROL}*", "numbers in place of convolutions"
        raise BundleError(file=source, key=key, found=found, expected="a ctrLoRA base") from error
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
        raise BundleError(file=source, found=f"LoRA layers of ranks {sorted(ranks)}", expected="one rank")
    return ranks.pop()


def _expected_adapter(
    found: Mapping[str, Tensor], names: LdmNames, control: ControlNetModel | None, rank: int
) -> dict[str, Tensor]:
    """The adapter's expected tensors: those of the base, or of any base that fits the tensors found."""
    if control is not None:
        return expected_adapter(control, rank)
    expected: dict[str, Tensor] = {}
    for module in names.modules().values():
        if SAVED_WHOLE.match(module):
            expected |= {f"{module}.{kind}": found.get(f"{module}.{kind}", _MISSING) for kind in ("weight", "bias")}
        elif is_target(module):
            down, up = (found.get(f"{module}.lora_{side}.weight", _MISSING) for side in "AB")
            expected[f"{module}.lora_A.weight"] = torch.empty(rank, *down.shape[1:2], device="meta")
            expected[f"{module}.lora_B.weight"] = torch.empty(*up.shape[:1], rank, device="meta")
    return expected


#: Placeholder for a missing tensor: its absence is reported before its shape is compared.
_MISSING: Final = torch.empty(0, device="meta")
