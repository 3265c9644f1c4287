"""UNets with fewer layers than the one that they are taken from, and the control residuals that still fit.

Block removal as in BK-SDM (Kim et al. 2023, https://arxiv.org/abs/2305.15798, section 3.1), which SDXS begins with. Of
every level the first layers stay, and on the way up the last one besides; the middle block and the attention of whole
levels may go. The last layer that is left takes the place of the level's last one, and so gets its control residual.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from dentgen.errors import SpecError

_Residual = TypeVar("_Residual")
_UP_LAYER: Final = re.compile(r"^(up_blocks\.\d+\.(?:resnets|attentions)\.)(\d+)(\..*)$")


@dataclass(frozen=True, slots=True)
class Pruning:
    """What of a UNet stays.

    Attributes:
        layers: ResNet layers per block; a block of the way up has one more.
        middle: Whether the middle block stays.
        attention: Levels that keep their attention, 0 the outermost; None for all that have some.
    """

    layers: int
    middle: bool
    attention: Collection[int] | None = None


def pruned_unet(unet: UNet2DConditionModel, pruning: Pruning) -> UNet2DConditionModel:
    """A smaller UNet with the weights of what stays; ``unet`` is left as it is.

    Args:
        unet: The UNet, with as many layers in every level.
        pruning: What stays.

    Raises:
        SpecError: If it has fewer layers than that, no such level, or numbers of layers that differ.
    """
    teacher = dict(unet.config)
    layers, levels = _layers_of(teacher), len(teacher["block_out_channels"])
    if not 1 <= pruning.layers <= layers:
        raise SpecError(key="layers", found=pruning.layers, expected=f"1 to {layers}, as the UNet has")
    if wrong := sorted(set(pruning.attention or ()) - set(range(levels))):
        raise SpecError(key="attention", found=wrong, expected=f"levels 0 to {levels - 1}")
    small = UNet2DConditionModel.from_config(_config(teacher, pruning))
    kept = _kept_weights(unet.state_dict(), small.state_dict().keys(), pruning.layers, layers)
    small.load_state_dict(kept)
    return nn.Module.to(small, unet.dtype)  # diffusers' own ``to`` warns about a list of modules that is empty here


def fitting_residuals(residuals: Sequence[_Residual], config: Mapping[str, Any]) -> Sequence[_Residual]:
    """Those residuals of a full control net that a pruned UNet has skip connections for.

    Args:
        residuals: One per skip connection of the UNet that the control net was made for, without the middle block's:
            first the input convolution's, then of every level those of its layers and of its downsampler.
        config: Config of the UNet that gets them.

    Returns:
        All of them if the UNet has as many layers; otherwise of each level the last ones, which the next level sees.

    Raises:
        SpecError: If the UNet has more layers than that.
    """
    layers, levels = _layers_of(config), len(config["block_out_channels"])
    full = (len(residuals) - levels) // levels
    if full == layers:
        return residuals
    if full < layers:
        raise SpecError(key="layers_per_block", found=f"{full} in the control net", expected=f"at least {layers}")
    kept = [residuals[0]]
    for level in range(levels):
        begin = 1 + level * (full + 1)
        kept += residuals[begin + full - layers : begin + full + (level + 1 < levels)]
    return kept


def _layers_of(config: Mapping[str, Any]) -> int:
    layers = config["layers_per_block"]
    numbers = {layers} if isinstance(layers, int) else set(layers)
    if len(numbers) > 1:
        raise SpecError(key="layers_per_block", found=list(layers), expected="one number for all levels")
    return int(numbers.pop())


def _config(teacher: Mapping[str, Any], pruning: Pruning) -> dict[str, Any]:
    config = {**teacher, "layers_per_block": pruning.layers}
    config.pop("_use_default_values", None)  # diffusers would put its defaults in place of these keys
    if not pruning.middle:
        config["mid_block_type"] = None
    if pruning.attention is not None:
        levels = range(len(teacher["block_out_channels"]))
        for way, plain, order in (("down", "DownBlock2D", levels), ("up", "UpBlock2D", reversed(levels))):
            types = zip(order, teacher[f"{way}_block_types"], strict=True)
            kept = tuple(kind if level in pruning.attention else plain for level, kind in types)
            config[f"{way}_block_types"] = kept
    return config


def _kept_weights(teacher: Mapping[str, Tensor], names: Collection[str], layers: int, full: int) -> dict[str, Tensor]:
    """Weights by the names of the smaller UNet: on the way up its last layer is the teacher's last."""

    def source(name: str) -> str:
        match = _UP_LAYER.match(name)
        if match and int(match[2]) == layers:
            return f"{match[1]}{full}{match[3]}"
        return name

    return {name: teacher[source(name)] for name in names}
