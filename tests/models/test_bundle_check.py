"""Verification of bundles: no problem in a good one, one error for each fault of a damaged one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from dentgen.errors import BundleError, DentgenError
from dentgen.models.bundle import Bundle, load_bundle
from dentgen.models.bundle_check import bundle_problems
from dentgen.models.control import control_from_unet, save_control
from dentgen.models.trained_sampling import HEADER
from tests.diffusion.parts import full_control
from tests.models.part_files import kohya_lora, lcm_with_header, save_lora, save_tiny_decoder


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


def problems(bundle: Path) -> list[DentgenError]:
    found = list(bundle_problems(str(bundle)))
    assert not any("\n" in str(problem) for problem in found)
    return found


def places(bundle: Path, found: list[DentgenError]) -> set[tuple[str, str]]:
    """Part and key of every problem."""
    return {(problem.file.removeprefix(f"{bundle}/"), problem.key) for problem in found}


def add_every_kind_of_part(bundle: Path, miniature: Bundle) -> None:
    full_control(miniature)[0].save_pretrained(bundle / "controlnets" / "edges")
    save_tiny_decoder(bundle)
    save_lora(bundle, "look", kohya_lora(miniature))
    (bundle / "embeddings").mkdir()
    save_file({"emb_params": torch.zeros(2, 128)}, bundle / "embeddings" / "smile.safetensors")


@pytest.mark.integration
def test_a_bundle_with_every_kind_of_part_has_no_problems(bundle_copy: Path, miniature: Bundle) -> None:
    add_every_kind_of_part(bundle_copy, miniature)
    assert problems(bundle_copy) == []


@pytest.mark.integration
def test_optional_parts_that_do_not_fit_are_problems(bundle_copy: Path, miniature: Bundle) -> None:
    add_every_kind_of_part(bundle_copy, miniature)
    save_file({"emb_params": torch.zeros(2, 96)}, bundle_copy / "embeddings" / "smile.safetensors")
    save_lora(bundle_copy, "look", {"lora_unet_nowhere.alpha": torch.ones(1)})
    lcm_with_header(bundle_copy, "student", {HEADER: "nonsense"})
    save_tiny_decoder(bundle_copy, latent_channels=16)
    (bundle_copy / "controlnets" / "edges" / "config.json").write_text("{")
    assert places(bundle_copy, problems(bundle_copy)) == {
        ("embeddings/smile.safetensors", ""),
        ("loras/look/weights.safetensors", "lora_unet_nowhere.alpha"),
        ("loras/student/weights.safetensors", HEADER),
        ("tiny_decoder", ""),
        ("controlnets/edges", ""),
    }


def test_each_damaged_tensor_is_a_problem(bundle_copy: Path) -> None:
    weights = "diffusion_pytorch_model.safetensors"
    change(bundle_copy / "unet" / weights, conv_out__bias=None)
    change(bundle_copy / "text_encoder" / "model.safetensors", final_layer_norm__bias=None)
    change(bundle_copy / "vae" / weights, quant_conv__bias=torch.tensor([float("nan")] * 8))
    change(bundle_copy / "controlnet" / weights, conv_in__bias=torch.zeros(3))
    found = problems(bundle_copy)
    assert len(found) == 4
    assert places(bundle_copy, found) >= {
        ("unet", "conv_out.bias"),
        ("text_encoder", "final_layer_norm.bias"),
        (f"vae/{weights}", "quant_conv.bias"),
    }
    assert next(problem for problem in found if problem.key == "quant_conv.bias").found.startswith("8 values")
    assert next(problem for problem in found if problem.file == f"{bundle_copy}/controlnet").message.count("conv_in")


@pytest.mark.integration
def test_an_adapter_without_a_tensor_is_a_problem(bundle_copy: Path) -> None:
    """peft itself would only warn."""
    file = bundle_copy / "adapters" / "blended" / "adapter_model.safetensors"
    change(file, base_model__model__time_embedding__linear_1__lora_B__weight=None)
    (problem,) = problems(bundle_copy)
    assert (problem.file, problem.key) == (str(file), "time_embedding.linear_1.lora_B.weight")
    assert problem.expected.startswith("84 tensors")


def test_truncated_files_are_problems(bundle_copy: Path) -> None:
    for part in ("unet/diffusion_pytorch_model", "controlnet/diffusion_pytorch_model", "text_encoder/model",
                 "adapters/blended/adapter_model"):  # fmt: skip
        file = bundle_copy / f"{part}.safetensors"
        file.write_bytes(file.read_bytes()[:1000])
    (bundle_copy / "tokenizer" / "tokenizer.json").write_text("{")
    (bundle_copy / "scheduler" / "scheduler_config.json").write_text("[")
    files = {part for part, _ in places(bundle_copy, problems(bundle_copy))}
    assert files >= {"unet", "controlnet", "text_encoder", "tokenizer", "scheduler"}
    assert "adapters/blended/adapter_model.safetensors" in files


def test_parts_that_do_not_fit_each_other_are_problems(bundle_copy: Path, miniature: Bundle) -> None:
    configure(bundle_copy / "tokenizer" / "tokenizer_config.json", model_max_length=99)
    other = {**miniature.unet.config, "block_out_channels": [64, 128, 192]}
    save_control(control_from_unet(UNet2DConditionModel.from_config(other)), bundle_copy / "controlnet")
    vae = AutoencoderKL.from_config({**miniature.vae.config, "latent_channels": 8})
    vae.save_pretrained(bundle_copy / "vae")
    for part in ("adapters", "loras", "tiny_decoder"):
        shutil.rmtree(bundle_copy / part)
    found = {(problem.file, problem.key): (problem.found, problem.expected) for problem in problems(bundle_copy)}
    assert {place: facts[0] for place, facts in found.items()} == {
        (f"{bundle_copy}/tokenizer", "model_max_length"): 99,
        (f"{bundle_copy}/unet", "out_channels"): 4,
        (f"{bundle_copy}/unet", "in_channels"): 4,
        (f"{bundle_copy}/controlnet", "block_out_channels"): [64, 128, 192],
    }
    expected = found[f"{bundle_copy}/unet", "in_channels"][1]
    assert expected.startswith("8")
    assert "17" in expected


def test_adapters_require_a_base(bundle_copy: Path) -> None:
    shutil.rmtree(bundle_copy / "controlnet")
    (problem,) = problems(bundle_copy)
    assert problem.file == str(bundle_copy)
    assert "['blended', 'curvature', 'findings', 'lighting', 'normal', 'segmentation']" in problem.found


@pytest.mark.integration
def test_a_text_encoder_for_another_unet_is_a_problem(bundle_copy: Path) -> None:
    config = CLIPTextConfig.from_pretrained(bundle_copy / "text_encoder")
    config.hidden_size, config.vocab_size = 64, 600
    CLIPTextModel(config).save_pretrained(bundle_copy / "text_encoder")
    found = {problem.key: problem for problem in problems(bundle_copy)}
    assert (found["cross_attention_dim"].found, found["cross_attention_dim"].expected[:2]) == (128, "64")
    assert (found["tokens"].found, "600" in found["tokens"].expected) == (774, True)


def test_a_folder_that_is_no_bundle_is_one_problem(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path)
    assert (problem.file, problem.found) == (str(tmp_path), "no tokenizer, text_encoder, vae, unet, scheduler")


@pytest.mark.slow
def test_odd_tokenizers_and_schedules_are_the_same_error_when_loading(bundle_copy: Path) -> None:
    """What verification finds first is what loading raises."""
    config = bundle_copy / "tokenizer" / "tokenizer_config.json"
    before = json.loads(config.read_text())
    schedule = bundle_copy / "scheduler" / "scheduler_config.json"
    for values, key, found in (
        ({**before, "model_max_length": None}, "model_max_length", "none"),
        ({name: value for name, value in before.items() if name != "model_max_length"}, "model_max_length", "none"),
        ({**before, "model_max_length": 99}, "model_max_length", 99),
        ({**before, "pad_token": "<|new|>"}, "tokens", 775),
    ):
        config.write_text(json.dumps(values))
        verified = problems(bundle_copy)
        with pytest.raises(BundleError) as caught:
            load_bundle(str(bundle_copy))
        assert str(caught.value) == str(verified[0])
        assert (caught.value.file, caught.value.key, caught.value.found) == (str(config.parent), key, found)
    config.unlink()
    assert [problem.key for problem in problems(bundle_copy)][:1] == ["model_max_length"], "a vocabulary alone"
    config.write_text(json.dumps(before))
    schedule.unlink()
    (problem,) = problems(bundle_copy)
    with pytest.raises(BundleError) as caught:
        load_bundle(str(bundle_copy))
    assert str(problem) == str(caught.value)
    assert problem.file == str(schedule.parent)


@pytest.mark.integration
def test_a_vocabulary_without_merges_is_an_error(bundle_copy: Path) -> None:
    (bundle_copy / "tokenizer" / "tokenizer.json").rename(bundle_copy / "tokenizer" / "vocab.json")
    assert places(bundle_copy, problems(bundle_copy)) == {("tokenizer", "")}
