"""Pruned UNets: removing what does nothing changes no bit, with control residuals too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import nn

from dentgen.errors import SpecError
from dentgen.models.control import control_from_unet, control_residuals
from dentgen.models.networks import UNetDenoiser
from dentgen.models.pruning import Pruning, fitting_residuals, pruned_unet
from dentgen.seeding import fresh_weights

LATENTS = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
TIMES = torch.tensor([10, 700])
PROMPTS = torch.randn(2, 7, 24, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def unet() -> UNet2DConditionModel:
    """Shaped as Stable Diffusion's: two layers per block, the deepest level without attention."""
    with fresh_weights(0, "pruning"):
        net = UNet2DConditionModel(
            sample_size=16, block_out_channels=(32, 64, 64), layers_per_block=2, cross_attention_dim=24,
            attention_head_dim=8, down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        )  # fmt: skip
    return net.eval().requires_grad_(False)


def residuals_of(control: ControlNetModel) -> list[torch.Tensor]:
    """Random ones, so that a residual in a wrong place shows."""
    shapes = [each.shape for each in control_residuals(control, LATENTS, TIMES, PROMPTS)]
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def silence(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.zero_()


def disable_resnet(resnet: Any) -> None:
    """Give back the input; of hidden values beside a skip connection the hidden ones."""
    silence(resnet.conv2)
    if resnet.conv_shortcut is not None:
        silence(resnet.conv_shortcut)
        out = resnet.conv_shortcut.weight.shape[0]
        resnet.conv_shortcut.weight[:, :out, 0, 0] = torch.eye(out)


def disable_attention(block: Any) -> None:
    silence(block.proj_out)


def disable_nothing(unet: UNet2DConditionModel) -> None:
    pass


def disable_second_layers(unet: UNet2DConditionModel) -> None:
    """Those that one layer per block does without: the last but one of the way up."""
    for block in (*unet.down_blocks, *unet.up_blocks):
        disable_resnet(block.resnets[1])
        if getattr(block, "attentions", None) is not None:
            disable_attention(block.attentions[1])


def disable_middle(unet: UNet2DConditionModel) -> None:
    for resnet in unet.mid_block.resnets:
        disable_resnet(resnet)
    for attention in unet.mid_block.attentions:
        disable_attention(attention)


def disable_outer_attention(unet: UNet2DConditionModel) -> None:
    for block in (unet.down_blocks[0], unet.up_blocks[-1]):
        for attention in block.attentions:
            disable_attention(attention)


CUTS: dict[str, tuple[Pruning, Callable[[UNet2DConditionModel], None]]] = {
    "nothing": (Pruning(2, True), disable_nothing),
    "second layers": (Pruning(1, True), disable_second_layers),
    "middle": (Pruning(2, False), disable_middle),
    "outer attention": (Pruning(2, True, (1,)), disable_outer_attention),
}


@pytest.mark.parametrize("cut", CUTS)
def test_removing_what_does_nothing_changes_nothing(unet: UNet2DConditionModel, cut: str) -> None:
    pruning, disable = CUTS[cut]
    disable(unet)
    small = pruned_unet(unet, pruning).eval()
    residuals = residuals_of(control_from_unet(unet))
    for given in (None, residuals):
        wanted, found = (UNetDenoiser(net)(LATENTS, TIMES, PROMPTS, given) for net in (unet, small))
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    count = sum(parameter.numel() for parameter in small.parameters())
    assert (count < sum(parameter.numel() for parameter in unet.parameters())) == (cut != "nothing")


def test_residuals_that_fit_are_the_last_of_each_level(unet: UNet2DConditionModel) -> None:
    names = ["in", "0a", "0b", "0down", "1a", "1b", "1down", "2a", "2b"]
    assert fitting_residuals(names, unet.config) is names
    one = {**unet.config, "layers_per_block": 1}
    assert fitting_residuals(names, one) == ["in", "0b", "0down", "1b", "1down", "2b"]


def test_the_teacher_is_left_as_it_is(unet: UNet2DConditionModel) -> None:
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    small = pruned_unet(unet, Pruning(1, False, (1,)))
    for parameter in small.parameters():
        parameter.data.zero_()
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())


def test_a_control_net_with_fewer_layers_is_refused(unet: UNet2DConditionModel) -> None:
    with pytest.raises(SpecError) as caught:
        fitting_residuals(["in", "0a", "0down", "1a", "1down", "2a"], unet.config)
    assert (caught.value.key, caught.value.found) == ("layers_per_block", "1 in the control net")


@pytest.mark.parametrize(
    ("pruning", "key", "found"),
    [
        (Pruning(3, True), "layers", 3),
        (Pruning(0, True), "layers", 0),
        (Pruning(1, True, (1, 3)), "attention", [3]),
    ],
)
def test_more_than_there_is_cannot_stay(unet: UNet2DConditionModel, pruning: Pruning, key: str, found: object) -> None:
    with pytest.raises(SpecError) as caught:
        pruned_unet(unet, pruning)
    assert (caught.value.key, caught.value.found) == (key, found)
