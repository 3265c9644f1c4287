"""Tensor names of LDM and diffusers: both directions, for Stable Diffusion 1.5 and other layouts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dentgen.errors import BundleError
from dentgen.models.adapter import expected_adapter
from dentgen.models.bundle import Bundle
from dentgen.models.checkpoints.ldm_keys import (
    SD15_LAYOUT,
    Layout,
    control_names,
    layout_of_config,
    layout_of_control,
    unet_names,
)
from dentgen.models.sd15 import random_sd15
from tests.models.checkpoints.ldm_net import LdmControl, LdmShape, trained

SD15_SHAPE = LdmShape(widths=(320, 640, 1280, 1280), context=768, rank=128)


@pytest.fixture(scope="module")
def sd15() -> Bundle:
    return random_sd15(device="meta")


def published(rank: int) -> dict[str, Tensor]:
    """A base file's tensors with their real names and shapes and a distinct value each, expanded to save memory."""
    with torch.device("meta"):
        shapes = LdmControl(SD15_SHAPE).state_dict()
    assert rank == SD15_SHAPE.rank
    return {name: torch.tensor(float(i)).expand(value.shape) for i, (name, value) in enumerate(shapes.items())}


@pytest.mark.integration
def test_all_488_tensors_are_mapped_to_diffusers_and_back(sd15: Bundle) -> None:
    tensors, names = published(128), control_names(SD15_LAYOUT)
    assert len(tensors) == 488
    there = {names.diffusers(name): value for name, value in tensors.items()}
    assert len(there) == 488
    assert sd15.control is not None
    expected = {**sd15.control.state_dict(), **expected_adapter(sd15.control, 128)}
    assert {n: v.shape for n, v in there.items()} == {n: v.shape for n, v in expected.items()}
    back = {names.ldm(name): value for name, value in there.items()}
    assert back.keys() == tensors.keys()
    assert all(back[name] is tensors[name] for name in tensors)


def test_trained_tensors_are_as_many_as_published(sd15: Bundle) -> None:
    assert sd15.control is not None
    whole = expected_adapter(sd15.control, 128)
    assert sum(name.endswith("lora_A.weight") for name in whole) == 82
    assert sum(name.startswith("controlnet_") and name.endswith("weight") for name in whole) == 13
    norms = {n: v for n, v in whole.items() if ".lora_" not in n and not n.startswith("controlnet_")}
    assert len(norms) == 2 * 28
    assert sum(v.numel() for v in norms.values()) == 46_080
    assert round(sum(v.numel() for v in whole.values()) / 1e6, 1) == 36.9


def test_single_names_are_mapped_as_written_down() -> None:
    names = control_names(SD15_LAYOUT)
    for ldm, diffusers in {
        "input_blocks.0.0.weight": "conv_in.weight",
        "input_blocks.3.0.op.bias": "down_blocks.0.downsamplers.0.conv.bias",
        "input_blocks.8.1.norm.weight": "down_blocks.2.attentions.1.norm.weight",
        "input_blocks.11.0.emb_layers.1.bias": "down_blocks.3.resnets.1.time_emb_proj.bias",
        "input_blocks.4.0.skip_connection.weight": "down_blocks.1.resnets.0.conv_shortcut.weight",
        "middle_block.2.out_layers.3.weight": "mid_block.resnets.1.conv2.weight",
        "time_embed.2.lora_layer.up.weight": "time_embedding.linear_2.lora_B.weight",
        "zero_convs.11.0.weight": "controlnet_down_blocks.11.weight",
        "middle_block_out.0.bias": "controlnet_mid_block.bias",
    }.items():
        assert names.diffusers(ldm) == diffusers
        assert names.ldm(diffusers) == ldm


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("attended", [(True,), (False, True), (True, True, False), (True, True, True, False)])
def test_layouts_are_inferred_from_names(layers: int, attended: tuple[bool, ...]) -> None:
    shape = LdmShape(widths=(32,) * len(attended), attended=attended, layers=layers, rank=2)
    with torch.device("meta"):
        names = LdmControl(shape).state_dict().keys()
    layout = Layout(attended, layers)
    assert layout_of_control(names) == layout
    assert layout_of_control(trained(dict.fromkeys(names, torch.zeros(0)))) == layout
    known = control_names(layout)
    assert {known.ldm(known.diffusers(name)) for name in names} == set(names)


def test_unet_names_are_mapped_in_both_directions(sd15: Bundle, miniature: Bundle) -> None:
    for bundle, count in ((sd15, 686), (miniature, len(miniature.unet.state_dict()))):
        names = unet_names(layout_of_config(bundle.unet.config))
        ldm = {names.ldm(name): name for name in bundle.unet.state_dict()}
        assert len(ldm) == count
        assert all(names.diffusers(one) == other for one, other in ldm.items())


def test_unknown_names_are_an_error() -> None:
    names = control_names(SD15_LAYOUT)
    for rename, name in ((names.diffusers, "input_blocks.12.0.op.weight"), (names.ldm, "conv_in.running_mean")):
        with pytest.raises(BundleError) as caught:
            rename(name)
        assert (caught.value.key, caught.value.found) == (name, "an unknown tensor")


def test_unknown_layouts_are_an_error(miniature: Bundle) -> None:
    with pytest.raises(BundleError) as caught:
        layout_of_control(["conv_in.weight"])
    assert caught.value.found.startswith("0 zero convolutions")
    with pytest.raises(BundleError) as caught:
        layout_of_config({**miniature.unet.config, "down_block_types": ["SimpleCrossAttnDownBlock2D"]})
    assert caught.value.key == "down_block_types"
    assert "SimpleCrossAttnDownBlock2D" in caught.value.found
