"""Names of LDM's tensors: every one of Stable Diffusion 1.5's has its place in diffusers' model, and comes back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dentgen.errors import BundleError
from dentgen.models.bundle import Bundle
from dentgen.models.checkpoints.ldm_keys import (
    SD15_LAYOUT,
    Layout,
    control_names,
    layout_of_config,
    layout_of_control,
    unet_names,
)
from dentgen.models.control import expected_adapter
from dentgen.models.sd15 import random_sd15
from tests.models.checkpoints.ldm_net import LdmControl, LdmShape, trained

SD15_SHAPE = LdmShape(widths=(320, 640, 1280, 1280), context=768, rank=128)


@pytest.fixture(scope="module")
def sd15() -> Bundle:
    return random_sd15(device="meta")


def published(rank: int) -> dict[str, Tensor]:
    """A base file's tensors in real names and shapes, a distinct value in each, without their gigabytes."""
    with torch.device("meta"):
        shapes = LdmControl(SD15_SHAPE).state_dict()
    assert rank == SD15_SHAPE.rank
    return {name: torch.tensor(float(i)).expand(value.shape) for i, (name, value) in enumerate(shapes.items())}


def test_all_488_tensors_go_to_diffusers_and_come_back(sd15: Bundle) -> None:
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


def test_what_ctrlora_trains_is_counted_as_published(sd15: Bundle) -> None:
    assert sd15.control is not None
    whole = expected_adapter(sd15.control, 128)
    assert sum(name.endswith("lora_A.weight") for name in whole) == 82
    assert sum(name.startswith("controlnet_") and name.endswith("weight") for name in whole) == 13
    norms = {n: v for n, v in whole.items() if ".lora_" not in n and not n.startswith("controlnet_")}
    assert len(norms) == 2 * 28
    assert sum(v.numel() for v in norms.values()) == 46_080
    assert round(sum(v.numel() for v in whole.values()) / 1e6, 1) == 36.9


def test_names_stand_where_the_table_says() -> None:
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
def test_a_layout_is_read_off_the_names(layers: int, attended: tuple[bool, ...]) -> None:
    shape = LdmShape(widths=(32,) * len(attended), attended=attended, layers=layers, rank=2)
    with torch.device("meta"):
        names = LdmControl(shape).state_dict().keys()
    layout = Layout(attended, layers)
    assert layout_of_control(names) == layout
    assert layout_of_control(trained(dict.fromkeys(names, torch.zeros(0)))) == layout
    known = control_names(layout)
    assert {known.ldm(known.diffusers(name)) for name in names} == set(names)


def test_a_unet_has_its_686_names(sd15: Bundle, miniature: Bundle) -> None:
    for bundle, count in ((sd15, 686), (miniature, len(miniature.unet.state_dict()))):
        names = unet_names(layout_of_config(bundle.unet.config))
        ldm = {names.ldm(name): name for name in bundle.unet.state_dict()}
        assert len(ldm) == count
        assert all(names.diffusers(one) == other for one, other in ldm.items())


def test_what_has_no_place_is_refused(miniature: Bundle) -> None:
    names = control_names(SD15_LAYOUT)
    with pytest.raises(BundleError, match=r"found a tensor input_blocks\.12\.0\.op\.weight"):
        names.diffusers("input_blocks.12.0.op.weight")
    with pytest.raises(BundleError, match=r"conv_in\.running_mean"):
        names.ldm("conv_in.running_mean")
    with pytest.raises(BundleError, match="found 0 zero convolutions"):
        layout_of_control(["conv_in.weight"])
    with pytest.raises(BundleError, match="SimpleCrossAttnDownBlock2D"):
        layout_of_config({**miniature.unet.config, "down_block_types": ["SimpleCrossAttnDownBlock2D"]})
