"""ctrLoRA adapters on the real miniature."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from dentgen.errors import BundleError
from dentgen.models.adapter import LORA_TARGETS, add_adapter, load_adapter, merge_adapter, save_adapter
from dentgen.models.bundle import Bundle, find_bundle, load_bundle
from dentgen.models.control import control_residuals, load_control
from tests.models.control_residuals import INPUTS, equal, residuals


def test_a_new_adapter_changes_nothing_and_trains_only_its_own_tensors(miniature: Bundle) -> None:
    base = load_bundle("miniature").control
    assert base is not None
    adapted = add_adapter(base, rank=4)
    assert equal(residuals(adapted), residuals(base))
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert any("lora_A" in name for name in trained)
    assert any("controlnet_down_blocks" in name for name in trained)
    assert any(".norm1." in name and "transformer_blocks" in name for name in trained)
    assert not any("resnets" in name and ".norm" in name for name in trained), "ResNet norms stay frozen"


def test_gradients_reach_zero_convolutions_and_norms(miniature: Bundle) -> None:
    """If peft's wrappers were not active, the frozen base would run instead."""
    base = load_bundle("miniature").control
    assert base is not None
    adapted = add_adapter(base, rank=4)
    sum(r.square().mean() for r in control_residuals(adapted, *INPUTS)).backward()  # type: ignore[union-attr]
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad and "lora_A" not in name:  # lora_A has no gradient while lora_B is zero
            assert parameter.grad is not None, name
            assert bool(parameter.grad.any()), name


def test_a_saved_and_merged_adapter_equals_the_unmerged_one(miniature: Bundle, tmp_path: Path) -> None:
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
    assert equal(residuals(merged), residuals(adapted), 1e-3)
    assert not equal(residuals(merged), before, 1e-3)
    assert equal(residuals(base), before), "the base is not modified"
    assert not isinstance(merged, PeftModel)


@pytest.mark.integration
@pytest.mark.parametrize("alpha", [2, 6])
def test_a_loaded_adapter_acts_like_the_merged_one_and_trains_on(miniature: Bundle, tmp_path: Path, alpha: int) -> None:
    """Also one whose config scales the LoRA; saved again, it is the same."""
    base = load_control(find_bundle("miniature") / "controlnet", torch.float32)
    before, folder = residuals(base), tmp_path / "adapter"
    adapted = add_adapter(base, rank=2)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)
            parameter.data = parameter.data.half().float()  # saved in fp16
    save_adapter(adapted, folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": alpha}))
    loaded = load_adapter(base, folder)
    assert equal(residuals(loaded), residuals(merge_adapter(base, folder)), 1e-3)
    assert not equal(residuals(loaded), before, 1e-3)
    assert equal(residuals(base), before), "the base is not modified"
    trained = {name for name, parameter in loaded.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    save_adapter(loaded, tmp_path / "again")
    assert equal(residuals(merge_adapter(base, tmp_path / "again")), residuals(loaded), 1e-3)


def test_an_adapter_without_weights_or_tensors_is_an_error(bundle_copy: Path) -> None:
    base = load_bundle("miniature").control
    assert base is not None
    folder = bundle_copy / "adapters" / "blended"
    tensors = load_file(folder / "adapter_model.safetensors")
    del tensors["base_model.model.controlnet_mid_block.bias"]
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(BundleError) as caught:
        merge_adapter(base, folder)
    assert caught.value.key == "controlnet_mid_block.bias"
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(BundleError) as caught:
        merge_adapter(base, folder)
    assert (caught.value.file, caught.value.found) == (str(folder), "no adapter_model.safetensors")


def test_saved_adapters_are_equal_in_every_process(miniature: Bundle, tmp_path: Path) -> None:
    base = load_bundle("miniature").control
    assert base is not None
    save_adapter(add_adapter(base, rank=2), tmp_path)
    targets = json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"]
    assert targets == sorted(LORA_TARGETS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


def test_the_miniatures_adapter_has_an_effect(miniature: Bundle) -> None:
    base = load_bundle("miniature").control
    assert base is not None
    assert miniature.control is not None
    assert not equal(residuals(base), residuals(miniature.control), 1e-2)
