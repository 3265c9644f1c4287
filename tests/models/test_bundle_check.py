"""Verifying a bundle: nothing to say about a good one, a line for each fault of a bad one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from dentgen.models.bundle import Bundle, find_bundle
from dentgen.models.bundle_check import bundle_problems
from dentgen.models.control import control_from_unet, save_control
from tests.diffusion.parts import full_control
from tests.models.test_bundle import save_tiny_decoder
from tests.models.test_lora import kohya


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(find_bundle("miniature"), tmp_path / "bundle"))


def change(file: Path, **tensors: torch.Tensor | None) -> None:
    """Replace or remove tensors of a file; two underscores stand for a dot."""
    held = load_file(file)
    for name, value in tensors.items():
        key = name.replace("__", ".")
        held.pop(key)
        if value is not None:
            held[key] = value
    save_file(held, file, metadata={"format": "pt"})


def configure(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def problems(bundle: Path) -> str:
    return "\n".join(bundle_problems(str(bundle)))


def test_a_whole_bundle_has_no_problems(copy: Path, miniature: Bundle) -> None:
    """With every kind of part that a bundle can have."""
    full_control(miniature)[0].save_pretrained(copy / "controlnets" / "edges")
    save_tiny_decoder(copy)
    (copy / "loras" / "look").mkdir(parents=True)
    save_file(kohya(miniature), copy / "loras" / "look" / "lora.safetensors")
    (copy / "embeddings").mkdir()
    save_file({"emb_params": torch.zeros(2, 128)}, copy / "embeddings" / "smile.safetensors")
    assert problems(copy) == ""
    save_file({"emb_params": torch.zeros(2, 96)}, copy / "embeddings" / "smile.safetensors")
    save_file({"lora_unet_nowhere.alpha": torch.ones(1)}, copy / "loras" / "look" / "lora.safetensors")
    save_tiny_decoder(copy, latent_channels=16)
    (copy / "controlnets" / "edges" / "config.json").write_text("{")
    lines = list(bundle_problems(str(copy)))
    assert len(lines) == 4
    for part in ("smile.safetensors: found vectors 96 wide", "found lora_unet_nowhere.alpha", "latents of 16", "edges"):
        assert sum(part in line for line in lines) == 1, part


def test_each_fault_is_a_line(copy: Path) -> None:
    change(copy / "unet" / "diffusion_pytorch_model.safetensors", conv_out__bias=None)
    change(copy / "text_encoder" / "model.safetensors", final_layer_norm__bias=None)
    change(copy / "vae" / "diffusion_pytorch_model.safetensors", quant_conv__bias=torch.tensor([float("nan")] * 8))
    change(copy / "controlnet" / "diffusion_pytorch_model.safetensors", conv_in__bias=torch.zeros(3))
    found = problems(copy)
    assert "UNet2DConditionModel's weights lack conv_out.bias" in found
    assert "CLIPTextModel's weights lack final_layer_norm.bias" in found
    assert "quant_conv.bias: found 8 values that are not finite" in found
    assert "conv_in.bias" in found
    assert len(found.splitlines()) == 4


def test_an_adapter_that_lacks_tensors_is_found(copy: Path) -> None:
    """Peft says nothing about one."""
    file = copy / "adapters" / "blended" / "adapter_model.safetensors"
    change(file, base_model__model__time_embedding__linear_1__lora_B__weight=None)
    assert problems(copy).startswith(f"{file}: found no time_embedding.linear_1.lora_B.weight, expected 112 tensors")


def test_damaged_files_are_lines(copy: Path) -> None:
    for part in ("unet/diffusion_pytorch_model", "controlnet/diffusion_pytorch_model", "text_encoder/model",
                 "adapters/blended/adapter_model"):  # fmt: skip
        file = copy / f"{part}.safetensors"
        file.write_bytes(file.read_bytes()[:1000])
    (copy / "tokenizer" / "tokenizer.json").write_text("{")
    (copy / "scheduler" / "scheduler_config.json").write_text("[")
    found = problems(copy)
    for part in ("unet", "controlnet", "text_encoder", "tokenizer", "scheduler", "adapters/blended"):
        assert any(f"{copy}/{part}" in line for line in found.splitlines()), part


def test_parts_that_do_not_fit_each_other_are_lines(copy: Path, miniature: Bundle) -> None:
    configure(copy / "tokenizer" / "tokenizer_config.json", model_max_length=99)
    other = {**miniature.unet.config, "block_out_channels": [64, 128, 192]}
    save_control(control_from_unet(UNet2DConditionModel.from_config(other)), copy / "controlnet")
    vae = AutoencoderKL.from_config({**miniature.vae.config, "latent_channels": 8})
    vae.save_pretrained(copy / "vae")
    for part in ("adapters", "loras", "tiny_decoder"):
        shutil.rmtree(copy / part)
    assert problems(copy).splitlines() == [
        f"{copy}: tokenizer: model_max_length: found 99, expected 77, the text encoder's positions",
        f"{copy}: unet: out_channels: found 4, expected 8, the autoencoder's latents",
        f"{copy}: unet: in_channels: found 4, expected 8, or 17 for inpainting",
        f"{copy}: controlnet: block_out_channels: found [64, 128, 192], expected [64, 128, 160], the UNet's",
    ]


def test_adapters_need_a_base(copy: Path) -> None:
    shutil.rmtree(copy / "controlnet")
    adapters = ["blended", "curvature", "lighting", "normal", "segmentation"]
    assert problems(copy) == f"{copy}: found adapters {adapters}, expected a control base in controlnet"


def test_a_text_encoder_for_another_unet_is_a_line(copy: Path) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig.from_pretrained(copy / "text_encoder")
    config.hidden_size, config.vocab_size = 64, 600
    CLIPTextModel(config).save_pretrained(copy / "text_encoder")
    found = problems(copy)
    assert "unet: cross_attention_dim: found 128, expected 64, the text encoder's width" in found
    assert "tokenizer: found 714 tokens, expected at most 600" in found


def test_a_folder_that_is_no_bundle_is_one_line(tmp_path: Path) -> None:
    assert "found no tokenizer, text_encoder, vae, unet, scheduler" in problems(tmp_path)
