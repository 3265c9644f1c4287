"""ctrLoRA's checkpoints: what is imported does what LDM code does with the same file, and keeps every byte."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file

from dentgen.errors import BundleError
from dentgen.models.bundle import Bundle
from dentgen.models.checkpoints.ctrlora import ctrlora_adapter, ctrlora_base
from dentgen.models.checkpoints.ldm_keys import SD15_LAYOUT, control_names
from dentgen.models.control import PEFT, control_residuals, load_control, merge_adapter
from tests.models.checkpoints.ldm_net import LdmControl, LdmShape, checkpoint, random_control, trained

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
    """An imported base; its file also holds a LoRA, as the published one does."""
    folder = tmp_path_factory.mktemp("base")
    tensors = checkpoint(random_control(SHAPE, "base"))
    ctrlora_base("base.ckpt", {**tensors, "model.diffusion_model.out.2.bias": torch.zeros(4)}).write(folder)
    return folder


def test_a_base_gives_ldms_residuals(base: Path) -> None:
    net = LdmControl(PLAIN).eval()
    missing = net.load_state_dict(random_control(SHAPE, "base").state_dict(), strict=False)
    assert not missing.missing_keys
    control = load_control(base, torch.float32)
    assert same(control, net)
    with torch.no_grad():
        control.down_blocks[1].resnets[0].norm1.bias += 1
    assert not same(control, net), "the comparison sees one tensor"


def test_an_adapter_gives_ldms_residuals(base: Path, tmp_path: Path) -> None:
    """As ctrLoRA loads them: from the base only what no adapter has, everything else from the adapter's file."""
    own = random_control(SHAPE, "adapter")
    file = trained(checkpoint(own))
    net = random_control(SHAPE, "base")
    net.load_state_dict({name.removeprefix("control_model."): value for name, value in file.items()}, strict=False)
    control = load_control(base, torch.float32)
    assert not same(control, net)
    ctrlora_adapter("lineart.ckpt", file, control).write(tmp_path / "lineart")
    assert same(merge_adapter(control, tmp_path / "lineart"), net)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_byte_comes_back(base: Path, tmp_path: Path, dtype: torch.dtype) -> None:
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


def test_a_small_layout_fits_the_miniature(miniature: Bundle, tmp_path: Path) -> None:
    shape = LdmShape(widths=(64, 128, 160), attended=(True, True, False), layers=1, context=128, rank=2)
    tensors = checkpoint(random_control(shape, "small"))
    imported = ctrlora_base("small.ckpt", tensors, miniature.unet)
    assert miniature.control is not None
    imported.write(tmp_path / "controlnet")
    loaded = load_control(tmp_path / "controlnet", torch.float32)
    assert imported.tensors.keys() == miniature.control.state_dict().keys()
    assert len(control_residuals(loaded, LATENTS, TIMES, torch.zeros(2, 77, 128))) == 7
    ctrlora_adapter("small.ckpt", tensors, loaded).write(tmp_path / "adapter")
    merge_adapter(loaded, tmp_path / "adapter")


def test_what_does_not_fit_is_named() -> None:
    tensors = checkpoint(random_control(SHAPE, "base"))
    lacking = {n: v for n, v in tensors.items() if n != "control_model.input_blocks.2.0.in_layers.2.weight"}
    with pytest.raises(BundleError, match=r"a\.ckpt: found no control_model\.input_blocks\.2\.0\.in_layers\.2\.weight"):
        ctrlora_base("a.ckpt", lacking)
    narrow = {**tensors, "control_model.time_embed.0.weight": torch.zeros(128, 31)}
    with pytest.raises(BundleError, match=r"time_embed\.0\.weight: found shape \[128, 31\], expected \[128, 32\]"):
        ctrlora_base("a.ckpt", narrow)
    with pytest.raises(BundleError, match=r"input_hint_block\.0\.weight, a ControlNet with a pixel hint"):
        ctrlora_base("a.ckpt", {**tensors, "control_model.input_hint_block.0.weight": torch.zeros(1)})
    with pytest.raises(BundleError, match=r"a\.ckpt: control_model\.\*: found 0 zero convolutions"):
        ctrlora_base("a.ckpt", {"control_model.input_blocks.0.0.weight": torch.zeros(32, 4, 3, 3)})
    with pytest.raises(BundleError, match="found numbers in place of convolutions"):
        ctrlora_base("a.ckpt", {name: torch.tensor(0.0) for name in tensors})
    with pytest.raises(BundleError, match=r"found a tensor label_emb\.weight"):
        ctrlora_base("a.ckpt", {**tensors, "control_model.label_emb.weight": torch.zeros(1)})


def test_an_adapter_that_does_not_fit_is_named(base: Path) -> None:
    file = trained(checkpoint(random_control(SHAPE, "adapter")))
    up = "control_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.lora_layer.up.weight"
    with pytest.raises(BundleError, match=r"a\.ckpt: found no control_model.*to_q\.lora_layer\.up\.weight"):
        ctrlora_adapter("a.ckpt", {name: value for name, value in file.items() if name != up})
    with pytest.raises(BundleError, match=r"to_q\.lora_layer\.up\.weight: found shape \[32, 3\], expected \[32, 4\]"):
        ctrlora_adapter("a.ckpt", {**file, up: torch.zeros(32, 3)})
    other = ControlNetModel.from_config({**load_control(base, torch.float32).config, "cross_attention_dim": 16})
    with pytest.raises(
        BundleError, match=r"attn2\.to_k\.lora_layer\.down\.weight: found shape \[4, 24\], expected \[4, 16\]"
    ):
        ctrlora_adapter("a.ckpt", file, other)


def test_a_base_for_another_unet_is_refused(miniature: Bundle) -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config({**miniature.unet.config, "cross_attention_dim": 64})
    with pytest.raises(
        BundleError, match=r"a\.ckpt: found a Layout\(attended=\(True, True, True, False\).* as in the bundle"
    ):
        ctrlora_base("a.ckpt", checkpoint(random_control(SHAPE, "base")), unet)
    shape = LdmShape(widths=(64, 128, 160), attended=(True, True, False), layers=1, context=128)
    with pytest.raises(BundleError, match=r"attn2\.to_k\.weight: found shape \[64, 128\], expected \[64, 64\]"):
        ctrlora_base("a.ckpt", checkpoint(random_control(shape, "small")), unet)
