"""Fused LoRAs: equal to peft's and diffusers' unfused layers, in every spelling; a scale of 0 changes nothing."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from peft import LoraConfig, get_peft_model
from torch import Tensor

from dentgen.errors import BundleError
from dentgen.models.bundle import Bundle, load_bundle
from dentgen.models.lora import LoraLayer, load_lora, parse_lora
from tests.models.part_files import ALPHA, RANK, kohya_lora, lora_halves, respelt_lora, same_bits, save_lora

GENERATOR = torch.Generator().manual_seed(0)
LATENTS, TIMES = torch.randn(2, 4, 16, 16, generator=GENERATOR), torch.tensor([999.0, 249.0])
CONTEXT = torch.randn(2, 77, 128, generator=GENERATOR)
TOKENS = torch.tensor([[0, *range(20, 95), 1]])


@pytest.fixture
def folder(bundle_copy: Path, miniature: Bundle) -> Path:
    """The miniature with a LoRA of UNet and text encoder."""
    save_lora(bundle_copy, "look", kohya_lora(miniature))
    return bundle_copy


def close(found: Tensor, expected: Tensor) -> bool:
    return float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


def test_a_layers_change_is_up_times_down_times_alpha_over_rank() -> None:
    down, up = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[4.0], [5.0]])
    weight = torch.zeros(2, 3)
    torch.testing.assert_close(LoraLayer(down, up, 0.5).delta(weight), 0.5 * torch.tensor([[4.0, 8, 12], [5, 10, 15]]))


@torch.no_grad()
def test_fused_weights_equal_pefts_unfused_layers(folder: Path, miniature: Bundle) -> None:
    fused, scale = load_bundle(str(folder), loras={"look": 0.7}), 0.7
    for net, name, inputs in (
        (miniature.unet, "unet", (LATENTS, TIMES, CONTEXT)),
        (miniature.text_encoder, "text_encoder", (TOKENS,)),
    ):
        layers = lora_halves(net)
        config = LoraConfig(r=RANK, lora_alpha=ALPHA * scale, target_modules=list(layers))
        adapted = get_peft_model(copy.deepcopy(net), config)
        for module, (down, up) in layers.items():
            wrapped = adapted.base_model.model.get_submodule(module)
            wrapped.lora_A["default"].weight.copy_(down)
            wrapped.lora_B["default"].weight.copy_(up)
        expected = adapted(*inputs)[0]
        assert close(getattr(fused, name)(*inputs)[0], expected), name
        assert not close(net(*inputs)[0], expected), "the LoRA has an effect"


@pytest.mark.integration
@torch.no_grad()
def test_fused_weights_equal_diffusers_unfused_layers(folder: Path, miniature: Bundle) -> None:
    fused, unet = load_bundle(str(folder), loras={"look": 1.0}), copy.deepcopy(miniature.unet)
    converted = StableDiffusionLoraLoaderMixin.lora_state_dict(str(folder / "loras" / "look" / "weights.safetensors"))
    StableDiffusionLoraLoaderMixin.load_lora_into_unet(*converted, unet, adapter_name="look")
    expected = unet(LATENTS, TIMES, CONTEXT)[0]
    assert close(fused.unet(LATENTS, TIMES, CONTEXT)[0], expected)


@pytest.mark.slow
@pytest.mark.parametrize("spelling", ["ldm", "diffusers", "peft"])
def test_every_spelling_gives_the_same_weights(folder: Path, miniature: Bundle, spelling: str) -> None:
    expected = load_bundle(str(folder), loras={"look": 1.0})
    place = save_lora(folder, "look", respelt_lora(miniature, spelling))
    if spelling == "peft":
        (place / "adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": ALPHA, "use_dora": False}))
    found = load_bundle(str(folder), loras={"look": 1.0})
    assert same_bits(found.unet, expected.unet)
    assert same_bits(found.text_encoder, expected.text_encoder)


def test_diffusers_oldest_format_is_read(miniature: Bundle) -> None:
    down, up = torch.zeros(2, 128), torch.ones(128, 2)
    attention = "down_blocks.1.attentions.0.transformer_blocks.0.attn1"
    tensors = {f"unet.{attention}.processor.to_out_lora.{end}.weight": v for end, v in (("down", down), ("up", up))}
    text = "text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora"
    tensors |= {f"{text}.down.weight": torch.zeros(2, 128), f"{text}.up.weight": torch.zeros(128, 2)}
    lora = parse_lora("old", tensors, miniature.unet, miniature.text_encoder)
    assert list(lora.unet) == [f"{attention}.to_out.0"]
    assert list(lora.text_encoder) == ["encoder.layers.0.self_attn.q_proj"]
    assert lora.unet[f"{attention}.to_out.0"].alpha == 2, "without alpha, alpha over rank is 1"


def test_alpha_is_read_from_diffusers_header(folder: Path, miniature: Bundle) -> None:
    tensors = {
        name: value for name, value in respelt_lora(miniature, "diffusers").items() if not name.endswith(".alpha")
    }
    header = {"lora_adapter_metadata": json.dumps({"unet.r": RANK, "unet.lora_alpha": 3})}
    lora = load_lora(save_lora(folder, "look", tensors, header), miniature.unet, miniature.text_encoder)
    assert {layer.alpha for layer in lora.unet.values()} == {3.0}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_scale_of_zero_changes_no_bit(folder: Path, dtype: torch.dtype) -> None:
    zero, base = load_bundle(str(folder), loras={"look": 0.0}, dtype=dtype), load_bundle(str(folder), dtype=dtype)
    assert same_bits(zero.unet, base.unet)
    assert same_bits(zero.text_encoder, base.text_encoder)
    assert zero.digest != base.digest, "the LoRA is chosen all the same"


@pytest.mark.slow
def test_loras_are_added_in_float32_and_in_one_order(folder: Path, miniature: Bundle) -> None:
    save_lora(folder, "light", kohya_lora(miniature, seed=2))
    one = load_bundle(str(folder), loras={"look": 0.5, "light": -1.0})
    other = load_bundle(str(folder), loras={"light": -1.0, "look": 0.5})
    half = load_bundle(str(folder), loras={"look": 0.5, "light": -1.0}, dtype=torch.float16)
    assert same_bits(one.unet, other.unet)
    assert one.digest == other.digest
    assert same_bits(half.unet, one.unet.half())


def load_error(folder: Path, name: str = "look") -> BundleError:
    with pytest.raises(BundleError) as caught:
        load_bundle(str(folder), loras={name: 1.0})
    return caught.value


PLAIN = {
    "lora_unet_conv_in.lora_down.weight": torch.ones(4, 4, 3, 3),
    "lora_unet_conv_in.lora_up.weight": torch.ones(64, 4),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "key", "found"),
    [
        (
            {"lora_unet_up_blocks_9_conv.alpha": torch.tensor(1.0)},
            "lora_unet_up_blocks_9_conv.alpha",
            "no such module in the bundle",
        ),
        ({"lora_unet_conv_in.dora_scale": torch.zeros(1)}, "lora_unet_conv_in.dora_scale", "an unknown kind of tensor"),
        ({"lora_unet_conv_in.lora_up.weight": None}, "unet conv_in", "no up half of the LoRA"),
        (
            {"lora_unet_conv_in.lora_up.weight": torch.zeros(64, 3)},
            "unet conv_in",
            "shapes [4, 4, 3, 3] and [64, 3]",
        ),
        ({"lora_unet_conv_in.lora_down.weight": torch.tensor(1.0)}, "unet conv_in", "shapes [] and [64, 4]"),
        ({"lora_unet_conv_in.alpha": torch.zeros(2)}, "unet conv_in alpha", "shape [2]"),
        ({"lora_unet_conv_in.alpha": torch.tensor(float("nan"))}, "unet conv_in alpha", "nan"),
        (
            {"lora_unet_conv_in.lora_down.weight": torch.ones(4, 3, 3, 4)},
            "unet conv_in",
            "shapes [4, 3, 3, 4] and [64, 4]",
        ),
        ({"lora_unet_conv_in.lora_down.weight": torch.ones(4, 36)}, "unet conv_in", "shapes [4, 36] and [64, 4]"),
        (
            {"lora_unet_conv_in.lora_down.weight": torch.ones(0, 4, 3, 3)},
            "unet conv_in",
            "shapes [0, 4, 3, 3] and [64, 4]",
        ),
        (
            {"lora_unet_conv_in.lora_down.weight": torch.ones(4, 4, 3, 3, dtype=torch.int8)},
            "unet conv_in",
            "values of torch.int8",
        ),
        (
            {"unet.conv_in.lora_A.weight": torch.ones(4, 4, 3, 3)},
            "unet.conv_in.lora_A.weight",
            "a second down of unet conv_in",
        ),
    ],
)
def test_loras_that_do_not_fit_are_an_error(
    folder: Path, change: dict[str, Tensor | None], key: str, found: str
) -> None:
    tensors = {name: value for name, value in {**PLAIN, **change}.items() if value is not None}
    file = save_lora(folder, "look", tensors) / "weights.safetensors"
    error = load_error(folder)
    assert (error.file, error.key, error.found) == (str(file), key, found)


@pytest.mark.parametrize(
    ("end", "kind"),
    [("dora_scale", "DoRA"), ("lora_magnitude_vector", "DoRA"), ("hada_w1_a", "LoHa"), ("lokr_w1", "LoKr"),
     ("oft_blocks", "OFT"), ("lora_mid.weight", "Tucker"), ("lora_B.bias", "biases"), ("diff", "differences")],
)  # fmt: skip
def test_other_kinds_of_training_are_named(miniature: Bundle, end: str, kind: str) -> None:
    key = f"lora_unet_conv_in.{end}"
    with pytest.raises(BundleError) as caught:
        parse_lora("here", {**PLAIN, key: torch.ones(4, 4)}, miniature.unet, miniature.text_encoder)
    assert (caught.value.file, caught.value.key) == ("here", key)
    assert kind in caught.value.message


def test_unknown_loras_are_an_error(folder: Path) -> None:
    error = load_error(folder, "other")
    assert (error.file, error.found) == (f"{folder}/loras", "no 'other'")
    assert error.expected == "one of ['lcm', 'look']"


def test_unsupported_options_of_peft_are_an_error(folder: Path) -> None:
    place = save_lora(folder, "look", PLAIN)
    (place / "adapter_config.json").write_text('{"use_dora": true}')
    error = load_error(folder)
    assert (error.key, error.found) == ("use_dora", "True")
    (place / "adapter_config.json").write_text("{")
    assert load_error(folder).file == str(place / "weights.safetensors")


def test_a_lora_is_one_file(folder: Path) -> None:
    place = save_lora(folder, "look", PLAIN)
    shutil.copy(place / "weights.safetensors", place / "more.safetensors")
    error = load_error(folder)
    assert (error.file, error.found) == (str(place), "['more.safetensors', 'weights.safetensors']")
