"""ctrLoRA control nets and split ControlNets on the real miniature."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel

from dentgen.errors import BundleError
from dentgen.models.bundle import Bundle, find_bundle
from dentgen.models.control import (
    control_from_unet,
    control_residuals,
    load_control,
    load_full_control,
    save_control,
    split_hint,
)
from tests.diffusion.parts import full_control
from tests.models.control_residuals import INPUTS, equal, residuals


def test_residuals_of_a_new_base_are_zero(miniature: Bundle) -> None:
    assert all(not bool(r.any()) for r in residuals(control_from_unet(miniature.unet)))


def test_a_base_survives_a_round_trip(miniature: Bundle, tmp_path: Path) -> None:
    control = load_control(find_bundle("miniature") / "controlnet", torch.float32)
    save_control(control, tmp_path)
    assert equal(residuals(load_control(tmp_path, torch.float32)), residuals(control))
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(BundleError) as caught:
        load_control(tmp_path, torch.float32)
    assert caught.value.file == str(tmp_path)


def test_a_controlnet_with_a_pixel_hint_is_no_base(miniature: Bundle, tmp_path: Path) -> None:
    full_control(miniature)[0].save_pretrained(tmp_path)
    with pytest.raises(BundleError) as caught:
        load_control(tmp_path, torch.float32)
    assert (caught.value.file, caught.value.found) == (str(tmp_path), "a ControlNet with a pixel hint")
    assert load_full_control(tmp_path, torch.float32).network.config["conditioning_channels"] == 3


def test_only_hints_of_three_channels_are_supported(miniature: Bundle, tmp_path: Path) -> None:
    four = ControlNetModel.from_unet(miniature.unet, conditioning_channels=4)
    four.save_pretrained(tmp_path)
    with pytest.raises(BundleError) as caught:
        load_full_control(tmp_path, torch.float32)
    error = caught.value
    assert (error.file, error.key, error.found, error.expected) == (str(tmp_path), "conditioning_channels", 4, 3)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_a_split_controlnet_equals_the_whole_one(miniature: Bundle, order: str) -> None:
    whole, _ = full_control(miniature)
    whole.register_to_config(controlnet_conditioning_channel_order=order)
    parts = split_hint(copy.deepcopy(whole))
    image = np.random.default_rng(1).integers(0, 256, (128, 128, 3), np.uint8)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    latents, times, prompt = (values[:1] for values in INPUTS)
    with torch.no_grad():
        down, middle = whole(latents, times, prompt, controlnet_cond=pixels, return_dict=False)
        found = control_residuals(parts.network, latents, times, prompt, parts.embed(image)[None])
    assert equal(found, [*down, middle], 1e-5)
