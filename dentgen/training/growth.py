"""Larger networks from trained smaller ones: an outer level at twice the resolution, all inner weights kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn

from dentgen.models.control import base_of_config

#: Residuals of a control net that belong to the outer level: of its first convolution, its block and its downsampler.
_OUTER_RESIDUALS = 2


def grown_unet(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """A UNet for images of twice the size.

    Its new outer level has no attention and as many channels as the former outermost one. An inner level sees the
    same share of the image as before, so its weights keep their meaning.

    Args:
        unet: With one ResNet layer per block, as the miniature's.

    Returns:
        A network whose outer level draws its weights from torch's generator.
    """
    config = {**unet.config, "sample_size": 2 * int(unet.config["sample_size"])}
    config["block_out_channels"] = _with_outer(unet.config["block_out_channels"])
    config["down_block_types"] = ("DownBlock2D", *unet.config["down_block_types"])
    config["up_block_types"] = (*unet.config["up_block_types"], "UpBlock2D")
    grown = UNet2DConditionModel.from_config(config)
    _copy_weights(unet.state_dict(), grown, _in_unet)
    return grown


def grown_control(control: ControlNetModel) -> ControlNetModel:
    """A control base for a ``grown_unet``; residuals of its outer level begin at zero."""
    config = {**control.config, "block_out_channels": _with_outer(control.config["block_out_channels"])}
    config["down_block_types"] = ("DownBlock2D", *control.config["down_block_types"])
    grown = base_of_config(config)
    for outer in grown.controlnet_down_blocks[: _OUTER_RESIDUALS + 1]:
        nn.init.zeros_(outer.weight)
        nn.init.zeros_(outer.bias)
    _copy_weights(control.state_dict(), grown, _in_control)
    return grown


def _with_outer(channels: tuple[int, ...]) -> tuple[int, ...]:
    return (channels[0], *channels)


def _copy_weights(known: Mapping[str, Tensor], grown: nn.Module, name_in: Callable[[str], str]) -> None:
    """Copy every weight to its new name; those of the outer level stay as they are."""
    state = grown.state_dict()
    moved = {name_in(name): value for name, value in known.items()}
    grown.load_state_dict({**state, **moved})


def _in_unet(name: str) -> str:
    """Where a weight of the UNet is after growth; upward blocks are counted from the innermost."""
    return _shifted(name, r"^down_blocks\.(\d+)", 1)


def _in_control(name: str) -> str:
    return _shifted(_in_unet(name), r"^controlnet_down_blocks\.(\d+)", _OUTER_RESIDUALS)


def _shifted(name: str, pattern: str, by: int) -> str:
    return re.sub(pattern, lambda found: found[0][: -len(found[1])] + str(int(found[1]) + by), name)
