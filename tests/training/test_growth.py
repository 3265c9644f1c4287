"""Grown networks: every trained weight is kept where it belongs, and only the outer level is new."""

from __future__ import annotations

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from dentgen.models.bundle import MINIATURE, find_bundle
from dentgen.models.control import control_from_unet, control_residuals, load_control
from dentgen.models.parts import load_unet
from dentgen.training.growth import grown_control, grown_unet
from dentgen.training.preview import predict_noise


@pytest.fixture(scope="module")
def known() -> tuple[UNet2DConditionModel, ControlNetModel]:
    folder = find_bundle(MINIATURE)
    unet, control = (load(folder / name, torch.float32) for load, name in LOADERS)
    return unet, control


LOADERS = ((load_unet, "unet"), (load_control, "controlnet"))


def test_a_grown_unet_and_control_fit_each_other(known: tuple[UNet2DConditionModel, ControlNetModel]) -> None:
    unet, control = grown_unet(known[0]), grown_control(known[1])
    latents, times, words = torch.randn(2, 4, 32, 32), torch.tensor([10, 900]), torch.randn(2, 77, 128)
    with torch.no_grad():
        residuals = control_residuals(control, torch.rand(2, 4, 32, 32), times, words)
        assert predict_noise(unet, latents, times, words, residuals).shape == latents.shape
    shapes = [tuple(each.shape) for each in control_residuals(control_from_unet(unet), latents, times, words)]
    assert [tuple(each.shape) for each in residuals] == shapes


def test_inner_levels_compute_what_they_did(known: tuple[UNet2DConditionModel, ControlNetModel]) -> None:
    """What enters the second level leaves the middle as from the smaller network."""
    small, grown = known[0].eval(), grown_unet(known[0]).eval()
    features, time, words = torch.randn(1, 64, 16, 16), torch.randn(1, 256), torch.randn(1, 77, 128)
    found = []
    for blocks in (small.down_blocks, grown.down_blocks[1:]):
        value = features
        with torch.no_grad():
            for block in blocks:
                attends = {"encoder_hidden_states": words} if getattr(block, "has_cross_attention", False) else {}
                value, _ = block(hidden_states=value, temb=time, **attends)
        found.append(value)
    assert torch.equal(*found)
    for name in ("mid_block", "up_blocks.0", "up_blocks.1", "time_embedding", "conv_out"):
        before, after = (net.get_submodule(name).state_dict() for net in (small, grown))
        assert all(torch.equal(before[key], after[key]) for key in before), name


def test_residuals_of_the_outer_level_begin_at_zero_and_the_others_are_kept(
    known: tuple[UNet2DConditionModel, ControlNetModel],
) -> None:
    grown = grown_control(known[1])
    outer, inner = grown.controlnet_down_blocks[:2], grown.controlnet_down_blocks[2:]
    assert all(not bool(layer.weight.any()) and not bool(layer.bias.any()) for layer in outer)
    for before, after in zip(known[1].controlnet_down_blocks, inner, strict=True):
        assert torch.equal(before.weight, after.weight)


def test_the_grown_size(known: tuple[UNet2DConditionModel, ControlNetModel]) -> None:
    assert grown_unet(known[0]).config["sample_size"] == 2 * known[0].config["sample_size"]
