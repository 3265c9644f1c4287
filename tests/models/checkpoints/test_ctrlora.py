"""ctrLoRA's checkpoints: converted nets give the residuals of LDM code, and every byte survives the conversion."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from dentgen.errors import BundleError
from dentgen.models.adapter import PEFT, merge_adapter
from dentgen.models.bundle import Bundle
from dentgen.models.checkpoints.ctrlora import ctrlora_adapter, ctrlora_base
from dentgen.models.checkpoints.ldm_keys import SD15_LAYOUT, control_names
from dentgen.models.control import control_residuals, load_control
from tests.models.checkpoints.ldm_net import (
    MINIATURE_SHAPE,
    LdmControl,
    LdmShape,
    checkpoint,
    random_control,
    trained,
)

SHAPE = LdmShape(rank=4)
PLAIN = LdmShape()
GENERATOR = torch.Generator().manual_seed(3)
LATENTS, TIMES = torch.randn(2, 4, 16, 16, generator=GENERATOR), torch.tensor([999.0, 249.0])
CONTEXT = torch.randn(2, 77, SHAPE.context, generator=GENERATOR)


def same(control: torch.nn.Module, net: LdmControl, tolerance: float = 1e-4) -> bool:
    with torch.no_grad():
        found, expected = control_residuals(control, LATENTS, TIMES, CONTEXT), net(LATENTS, TIMES, CONTEXT)
    assert len(found) == len(expected) == 13
    return all(
        float((a - b).abs().max()) < tolerance * float(b.abs().max()) for a, b in zip(found, expected, strict=True)
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imported base; its file also contains a LoRA, like the published one."""
    folder = tmp_path_factory.mktemp("base")
    tensors = checkpoint(random_control(SHAPE, "base"))
    ctrlora_base("base.ckpt", {**tensors, "model.diffusion_model.out.2.bias": torch.zeros(4)}).write(folder)
    return folder


@pytest.mark.integration
def test_a_converted_base_gives_the_residuals_of_ldm(base: Path) -> None:
    net = LdmControl(PLAIN).eval()
    missing = net.load_state_dict(random_control(SHAPE, "base").state_dict(), strict=False)
    assert not missing.missing_keys
    control = load_control(base, torch.float32)
    assert same(control, net)
    with torch.no_grad():
        control.down_blocks[1].resnets[0].norm1.bias += 1
    assert not same(control, net), "the comparison notices one changed tensor"


def test_a_converted_adapter_gives_the_residuals_of_ldm(base: Path, tmp_path: Path) -> None:
    """As ctrLoRA loads them: tensors of the adapter's file replace those of the base."""
    own = random_control(SHAPE, "adapter")
    file = trained(checkpoint(own))
    net = random_control(SHAPE, "base")
    net.load_state_dict({name.removeprefix("control_model."): value for name, value in file.items()}, strict=False)
    control = load_control(base, torch.float32)
    assert not same(control, net)
    ctrlora_adapter("lineart.ckpt", file, control).write(tmp_path / "lineart")
    assert same(merge_adapter(control, tmp_path / "lineart"), net)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_conversion_keeps_every_byte(base: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {name: value.to(dtype) for name, value in checkpoint(random_control(SHAPE, "base")).items()}
    ctrlora_base("base.ckpt", tensors).write(tmp_path / "base")
    ctrlora_adapter("adapter.ckpt", tensors).write(tmp_path / "adapter")
    names = control_names(SD15_LAYOUT)
    back = load_file(tmp_path / "base" / "diffusion_pytorch_model.safetensors")
    adapter = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert all(name.startswith(PEFT) for name in adapter)
    back |= {name.removeprefix(PEFT): value for name, value in adapter.items()}
    found = {f"control_model.{names.ldm(name)}": value for name, value in back.items()}
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].dtype == dtype
        assert found[name].shape == value.shape
        assert torch.equal(found[name].view(torch.uint8), value.view(torch.uint8)), name


def test_a_base_of_another_layout_fits_the_miniature(miniature: Bundle, tmp_path: Path) -> None:
    tensors = checkpoint(random_control(MINIATURE_SHAPE, "small"))
    imported = ctrlora_base("small.ckpt", tensors, miniature.unet)
    assert miniature.control is not None
    imported.write(tmp_path / "controlnet")
    loaded = load_control(tmp_path / "controlnet", torch.float32)
    assert imported.tensors.keys() == miniature.control.state_dict().keys()
    assert len(control_residuals(loaded, LATENTS, TIMES, torch.zeros(2, 77, 128))) == 7
    ctrlora_adapter("small.ckpt", tensors, loaded).write(tmp_path / "adapter")
    merge_adapter(loaded, tmp_path / "adapter")


def base_error(tensors: dict[str, torch.Tensor], unet: UNet2DConditionModel | None = None) -> BundleError:
    with pytest.raises(BundleError) as caught:
        ctrlora_base("a.ckpt", tensors, unet)
    assert caught.value.file == "a.ckpt"
    return caught.value


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("control_model.input_blocks.2.0.in_layers.2.weight", None, "no such tensor"),
        ("control_model.time_embed.0.weight", torch.zeros(128, 31), "shape [128, 31]"),
        ("control_model.input_hint_block.0.weight", torch.zeros(1), "a ControlNet with a pixel hint"),
        ("control_model.label_emb.weight", torch.zeros(1), "an unknown tensor"),
    ],
)
def test_bases_with_wrong_tensors_are_an_error(name: str, value: torch.Tensor | None, found: str) -> None:
    tensors = checkpoint(random_control(SHAPE, "base"))
    tensors.pop(name, None)
    if value is not None:
        tensors[name] = value
    error = base_error(tensors)
    assert (error.key, error.found) == (name, found)


def test_files_that_are_no_base_are_an_error() -> None:
    error = base_error({"control_model.input_blocks.0.0.weight": torch.zeros(32, 4, 3, 3)})
    assert error.key == "control_model.zero_convs"
    assert error.found.startswith("0 zero convolutions")
    error = base_error({name: torch.tensor(0.0) for name in checkpoint(random_control(SHAPE, "base"))})
    assert (error.key, error.found) == ("control_model.*", "numbers in place of convolutions")


def test_a_base_for_another_unet_is_an_error(miniature: Bundle) -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config({**miniature.unet.config, "cross_attention_dim": 64})
    error = base_error(checkpoint(random_control(SHAPE, "base")), unet)
    assert error.found.startswith("Layout(attended=(True, True, True, False)")
    shape = LdmShape(widths=(64, 128, 160), attended=(False, True, False), layers=1, context=128)
    error = base_error(checkpoint(random_control(shape, "small")), unet)
    assert error.key.endswith("attn2.to_k.weight")
    assert (error.found, error.expected) == ("shape [128, 128]", [128, 64])


def test_an_adapter_has_one_rank() -> None:
    tensors = trained(checkpoint(random_control(SHAPE, "base")))
    name = "control_model.time_embed.0.lora_layer.down.weight"
    tensors[name] = torch.zeros(2, *tensors[name].shape[1:])
    with pytest.raises(BundleError) as caught:
        ctrlora_adapter("a.ckpt", tensors)
    assert caught.value.found == "LoRA layers of ranks [2, 4]"
