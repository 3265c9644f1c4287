"""Descriptions of LoRAs: the weights that diffusers and peft make of them, or a refusal that names the option."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from torch import Tensor, nn

from dentgen.errors import BundleError
from dentgen.models.bundle import Bundle, load_bundle
from dentgen.models.lora_options import LoraOptions, parse_options, read_lora_options
from tests.models.part_files import save_lora

FIRST = "down_blocks.1.attentions.0.transformer_blocks.0"
UNET = {"target_modules": ["to_q", "to_out.0", "conv_in", "ff.net.0.proj"], "r": 4, "lora_alpha": 16}
TEXT = {"target_modules": ["q_proj", "fc1"], "r": 4, "lora_alpha": 2}
GRID: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None]] = {
    "own alphas": (UNET, TEXT),
    "own ranks": (UNET, {**TEXT, "r": 2}),
    "UNet alone": (UNET, None),
    "text encoder alone": (None, TEXT),
    "rank stabilised": ({**UNET, "use_rslora": True}, TEXT),
    "ranks by suffix": ({**UNET, "rank_pattern": {"attn2.to_out.0": 8}}, {**TEXT, "rank_pattern": {"fc1": 3}}),
    "alphas by suffix": ({**UNET, "alpha_pattern": {"to_q": 1}}, {**TEXT, "alpha_pattern": {"layers.1.mlp.fc1": 9}}),
    "alphas by whole names": ({**UNET, "alpha_pattern": {f"^{FIRST}.attn1.to_q": 3, "^to_q": 5}}, None),
    "alphas by expressions": ({**UNET, "alpha_pattern": {r"down_blocks\.\d+\..*to_q": 7, "attn[12].to_q": 5}}, TEXT),
    "all at once": (
        {**UNET, "use_rslora": True, "rank_pattern": {"conv_in": 2}, "alpha_pattern": {"conv_in": 3, "to_q": 5}},
        {**TEXT, "use_rslora": True, "alpha_pattern": {"q_proj": 4.5}},
    ),
    "another initialisation": ({**UNET, "init_lora_weights": "gaussian"}, {**TEXT, "init_lora_weights": False}),
}  # fmt: skip


def pipeline(bundle: Bundle) -> StableDiffusionPipeline:
    """diffusers' pipeline on copies of the networks that LoRAs change."""
    return StableDiffusionPipeline(
        vae=bundle.vae, text_encoder=copy.deepcopy(bundle.text_encoder), unet=copy.deepcopy(bundle.unet),
        tokenizer=bundle.tokenizer, scheduler=None, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def randomise(net: nn.Module, seed: int) -> None:
    """Halves that are not zero, and that differ."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in net.named_parameters():
        if "lora_" in name:
            parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)


def save_with_diffusers(
    bundle: Bundle, folder: Path, unet: Mapping[str, Any] | None, text: Mapping[str, Any] | None
) -> None:
    """A LoRA with its description, as diffusers' training scripts save it."""
    pipe, described, saved = pipeline(bundle), {}, {}
    for name, config in (("unet", unet), ("text_encoder", text)):
        if config is not None:
            net = getattr(pipe, name)
            net.add_adapter(LoraConfig(**config))
            randomise(net, len(name))
            described[name], saved[f"{name}_lora_layers"] = net, get_peft_model_state_dict(net, adapter_name="default")
    StableDiffusionPipeline.save_lora_weights(str(folder), **saved, **_collate_lora_metadata(described))


def distance(found: nn.Module, expected: nn.Module) -> float:
    """Largest difference of two networks' weights."""
    other = expected.state_dict()
    assert other.keys() == found.state_dict().keys()
    return max(float((value - other[name]).abs().max()) for name, value in found.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("kind", GRID)
def test_the_weights_are_those_that_diffusers_fuses(bundle_copy: Path, miniature: Bundle, kind: str) -> None:
    unet, text = GRID[kind]
    folder = bundle_copy / "loras" / "look"
    save_with_diffusers(miniature, folder, unet, text)
    pipe = pipeline(miniature)
    pipe.load_lora_weights(str(folder))
    pipe.fuse_lora(components=[name for name, config in (("unet", unet), ("text_encoder", text)) if config])
    pipe.unload_lora_weights()
    fused = load_bundle(str(bundle_copy), loras={"look": 1.0})
    for name, config in (("unet", unet), ("text_encoder", text)):
        net, expected, base = getattr(fused, name), getattr(pipe, name), getattr(miniature, name)
        assert distance(net, expected) < 1e-5, name
        assert (distance(net, base) > 1e-3) == (config is not None), "the LoRA has an effect"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet", "text_encoder"])
@pytest.mark.parametrize("stabilised", [False, True])
def test_a_folder_of_peft_is_merged_as_by_peft(
    bundle_copy: Path, miniature: Bundle, name: str, stabilised: bool
) -> None:
    base = getattr(miniature, name)
    config = {**(UNET if name == "unet" else TEXT), "use_rslora": stabilised, "alpha_pattern": {"to_q": 3, "fc1": 3}}
    adapted = get_peft_model(copy.deepcopy(base), LoraConfig(**config))
    randomise(adapted, 1)
    folder = bundle_copy / "loras" / "look"
    adapted.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)
    expected = PeftModel.from_pretrained(copy.deepcopy(base), str(folder)).merge_and_unload()
    found = getattr(load_bundle(str(bundle_copy), loras={"look": 1.0}), name)
    assert distance(found, expected) < 1e-5
    assert distance(found, base) > 1e-3


@pytest.mark.slow
def test_a_networks_own_description_holds_for_it(bundle_copy: Path, miniature: Bundle) -> None:
    """As ``unet.save_lora_adapter`` writes it: no prefix in names or description."""
    unet = copy.deepcopy(miniature.unet)
    unet.add_adapter(LoraConfig(**UNET), adapter_name="default")
    randomise(unet, 1)
    unet.save_lora_adapter(str(bundle_copy / "loras" / "look"))
    expected = copy.deepcopy(miniature.unet)
    expected.load_lora_adapter(str(bundle_copy / "loras" / "look"), prefix=None, use_safetensors=True)
    expected.fuse_lora()
    expected.unload_lora()
    assert distance(load_bundle(str(bundle_copy), loras={"look": 1.0}).unet, expected) < 1e-5


#: One layer of rank 4.
TENSORS = {
    "base_model.model.conv_in.lora_A.weight": torch.ones(4, 4, 3, 3),
    "base_model.model.conv_in.lora_B.weight": torch.ones(64, 4, 1, 1),
}
REFUSED: dict[str, Any] = {
    "use_dora": True, "modules_to_save": ["conv_out"], "lora_bias": True, "fan_in_fan_out": True, "bias": "lora_only",
    "use_qalora": True, "layer_replication": [[0, 1]], "peft_type": "LOHA", "trainable_token_indices": [3],
    "target_parameters": ["weight"], "kasa_config": {"a": 1}, "an_option_of_tomorrow": 1,
    "lora_alpha": None, "r": 0, "rank_pattern": ["to_q"], "alpha_pattern": {"to_q": None}, "use_rslora": "yes",
}  # fmt: skip
INITIALISATIONS = ("pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga", "mica", "tomorrow", 2, ["pissa"])


def load_error(bundle: Path, tensors: dict[str, Tensor], config: Any) -> BundleError:
    (save_lora(bundle, "look", tensors) / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(BundleError) as caught:
        load_bundle(str(bundle), loras={"look": 1.0})
    assert caught.value.file == str(bundle / "loras" / "look" / "weights.safetensors")
    return caught.value


@pytest.mark.parametrize("option", REFUSED)
def test_more_than_a_plain_lora_is_refused_by_name(option: str) -> None:
    with pytest.raises(BundleError) as caught:
        parse_options("here", {"r": 4, "lora_alpha": 4, option: REFUSED[option]})
    assert caught.value.file == "here"
    assert caught.value.key.startswith(option)


@pytest.mark.parametrize("way", INITIALISATIONS)
def test_initialisations_that_change_the_base_are_refused(way: Any) -> None:
    """peft would change the base again when it loads them."""
    with pytest.raises(BundleError) as caught:
        parse_options("here", {"r": 4, "lora_alpha": 4, "init_lora_weights": way})
    assert (caught.value.key, caught.value.found) == ("init_lora_weights", repr(way))


@pytest.mark.parametrize("pattern", ["(a+)+b", "((a)*)*", "(", ".*.*.*.*b", "a{999999999999999999999}"])
def test_patterns_that_may_take_forever_are_refused(pattern: str) -> None:
    with pytest.raises(BundleError) as caught:
        parse_options("here", {"alpha_pattern": {pattern: 1}})
    assert (caught.value.key, caught.value.found) == ("alpha_pattern", repr(pattern))


def test_weights_and_description_must_agree(bundle_copy: Path) -> None:
    error = load_error(bundle_copy, TENSORS, {"r": 8, "lora_alpha": 8})
    assert (error.key, error.found) == ("unet conv_in", "rank 4")
    with_alpha = {**TENSORS, "base_model.model.conv_in.alpha": torch.tensor(3.0)}
    error = load_error(bundle_copy, with_alpha, {"r": 4, "lora_alpha": 8})
    assert (error.key, error.found) == ("unet conv_in alpha", "alpha 3")
    assert load_error(bundle_copy, TENSORS, ["r"]).key == "config"


def test_what_is_not_described_has_a_scale_of_one(tmp_path: Path) -> None:
    file = save_lora(tmp_path, "look", TENSORS) / "weights.safetensors"
    assert read_lora_options(file) == {name: LoraOptions() for name in ("unet", "text_encoder")}
    header = {"lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.lora_alpha": 3, "text_encoder_2.r": 9})}
    file = save_lora(tmp_path, "look", TENSORS, header) / "weights.safetensors"
    found = read_lora_options(file)
    assert (found["unet"].rank, found["unet"].alpha, found["text_encoder"]) == (4, 3.0, LoraOptions(str(file)))
    assert math.isclose(LoraOptions(rank_stabilised=True).scale(8, 4), 4)
