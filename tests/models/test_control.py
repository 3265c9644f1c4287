"""ctrLoRA control nets and adapters on the real miniature."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel

from dentgen.errors import BundleError
from dentgen.models.bundle import Bundle, find_bundle, load_bundle
from dentgen.models.control import (
    add_adapter,
    control_from_unet,
    control_residuals,
    load_control,
    merge_adapter,
    save_adapter,
    save_control,
    split_hint,
)
from tests.diffusion.parts import full_control

INPUTS = (torch.randn(2, 4, 16, 16), torch.tensor([999.0, 249.0]), torch.randn(2, 77, 128))


@torch.no_grad()
def residuals(control: torch.nn.Module) -> list[torch.Tensor]:
    return control_residuals(control, *INPUTS)


def same(one: list[torch.Tensor], other: list[torch.Tensor], tolerance: float = 0.0) -> bool:
    return all(
        float((a - b).abs().max()) <= tolerance * float(b.abs().max() + 1e-9) for a, b in zip(one, other, strict=True)
    )


def test_a_fresh_base_changes_nothing(miniature: Bundle) -> None:
    """Zero convolutions: all residuals are exactly zero."""
    assert all(not bool(r.any()) for r in residuals(control_from_unet(miniature.unet)))


def test_a_fresh_adapter_changes_nothing_and_trains_only_its_own(miniature: Bundle) -> None:
    base = load_bundle("miniature").control
    assert base is not None
    adapted = add_adapter(base, rank=4)
    assert same(residuals(adapted), residuals(base))
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert any("lora_A" in name for name in trained)
    assert any("controlnet_down_blocks" in name for name in trained)
    assert any(".norm1." in name and "transformer_blocks" in name for name in trained)
    assert not any("resnets" in name and ".norm" in name for name in trained), "ResNet norms stay frozen"


def test_gradients_reach_zero_convolutions_and_norms(miniature: Bundle) -> None:
    """The silent trap: wrappers that are not switched on let the frozen base run instead."""
    base = load_bundle("miniature").control
    assert base is not None
    adapted = add_adapter(base, rank=4)
    sum(r.square().mean() for r in control_residuals(adapted, *INPUTS)).backward()  # type: ignore[union-attr]
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad and "lora_A" not in name:  # lora_A has no gradient while lora_B is zero
            assert parameter.grad is not None, name
            assert bool(parameter.grad.any()), name


def test_saved_and_merged_equals_unmerged(miniature: Bundle, tmp_path: Path) -> None:
    base = load_bundle("miniature").control
    assert base is not None
    adapted = add_adapter(base, rank=4)
    generator = torch.Generator().manual_seed(0)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
            parameter.data = parameter.data.half().float()  # saved in fp16
    save_adapter(adapted, tmp_path / "adapter")
    before = residuals(base)
    merged = merge_adapter(base, tmp_path / "adapter")
    assert same(residuals(merged), residuals(adapted), 1e-3)
    assert not same(residuals(merged), before, 1e-3)
    assert same(residuals(base), before), "the base is left alone"
    assert not isinstance(merged, PeftModel)


def test_base_survives_a_round_trip(miniature: Bundle, tmp_path: Path) -> None:
    control = load_control(find_bundle("miniature") / "controlnet", torch.float32)
    save_control(control, tmp_path)
    assert same(residuals(load_control(tmp_path, torch.float32)), residuals(control))
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(BundleError, match=str(tmp_path)):
        load_control(tmp_path, torch.float32)


def test_the_adapter_of_the_miniature_does_something(miniature: Bundle) -> None:
    base = load_bundle("miniature").control
    assert base is not None
    assert miniature.control is not None
    assert not same(residuals(base), residuals(miniature.control), 1e-2)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_a_controlnet_in_two_parts_is_the_whole_one(miniature: Bundle, order: str) -> None:
    whole, _ = full_control(miniature)
    whole.register_to_config(controlnet_conditioning_channel_order=order)
    parts = split_hint(copy.deepcopy(whole))
    image = np.random.default_rng(1).integers(0, 256, (128, 128, 3), np.uint8)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    latents, times, prompt = (values[:1] for values in INPUTS)
    with torch.no_grad():
        down, middle = whole(latents, times, prompt, controlnet_cond=pixels, return_dict=False)
        found = control_residuals(parts.network, latents, times, prompt, parts.embed(image)[None])
    assert same(found, [*down, middle], 1e-5)
