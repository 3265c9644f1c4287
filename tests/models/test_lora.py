"""LoRAs in the weights: equal to peft's and diffusers' layers beside them, in every spelling; 0 changes nothing."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch import Tensor, nn

from dentgen.errors import BundleError
from dentgen.models.bundle import Bundle, find_bundle, load_bundle
from dentgen.models.checkpoints.ldm_keys import layout_of_config, unet_names
from dentgen.models.lora import load_lora, parse_lora

RANK, ALPHA = 4, 2.0
GENERATOR = torch.Generator().manual_seed(0)
LATENTS, TIMES = torch.randn(2, 4, 16, 16, generator=GENERATOR), torch.tensor([999.0, 249.0])
CONTEXT = torch.randn(2, 77, 128, generator=GENERATOR)
TOKENS = torch.tensor([[0, *range(20, 95), 1]])


def halves(net: nn.Module, seed: int = 1) -> dict[str, tuple[Tensor, Tensor]]:
    """A LoRA of every linear layer and convolution of a network."""
    generator, made = torch.Generator().manual_seed(seed), {}
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            weight = module.weight
            ones = (1, 1) if weight.ndim == 4 else ()
            down = 0.05 * torch.randn(RANK, *weight.shape[1:], generator=generator)
            made[name] = down, 0.05 * torch.randn(weight.shape[0], RANK, *ones, generator=generator)
    return made


def kohya(bundle: Bundle, seed: int = 1) -> dict[str, Tensor]:
    nets = {"lora_unet_": bundle.unet, "lora_te_text_model_": bundle.text_encoder}
    tensors: dict[str, Tensor] = {}
    for prefix, net in nets.items():
        for name, (down, up) in halves(net, seed).items():
            key = prefix + name.replace(".", "_")
            tensors |= {
                f"{key}.lora_down.weight": down,
                f"{key}.lora_up.weight": up,
                f"{key}.alpha": torch.tensor(ALPHA),
            }
    return tensors


@pytest.fixture
def folder(tmp_path: Path, miniature: Bundle) -> Path:
    """The miniature with a LoRA of its own."""
    bundle = Path(shutil.copytree(find_bundle("miniature"), tmp_path / "bundle"))
    put(bundle, "look", kohya(miniature))
    return bundle


def put(bundle: Path, name: str, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    place = bundle / "loras" / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    save_file(tensors, place / "weights.safetensors", metadata=metadata)
    return place


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def close(found: Tensor, expected: Tensor) -> bool:
    return float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


@torch.no_grad()
def test_fused_is_what_peft_computes_beside_the_weights(folder: Path, miniature: Bundle) -> None:
    fused, scale = load_bundle(str(folder), loras={"look": 0.7}), 0.7
    for net, name, inputs in (
        (miniature.unet, "unet", (LATENTS, TIMES, CONTEXT)),
        (miniature.text_encoder, "text_encoder", (TOKENS,)),
    ):
        layers = halves(net)
        config = LoraConfig(r=RANK, lora_alpha=ALPHA * scale, target_modules=list(layers))
        adapted = get_peft_model(copy.deepcopy(net), config)
        for module, (down, up) in layers.items():
            wrapped = adapted.base_model.model.get_submodule(module)
            wrapped.lora_A["default"].weight.copy_(down)
            wrapped.lora_B["default"].weight.copy_(up)
        expected = adapted(*inputs)[0]
        assert close(getattr(fused, name)(*inputs)[0], expected), name
        assert not close(net(*inputs)[0], expected), "the LoRA does something"


@torch.no_grad()
def test_fused_is_what_diffusers_makes_of_the_same_file(folder: Path, miniature: Bundle) -> None:
    fused, unet = load_bundle(str(folder), loras={"look": 1.0}), copy.deepcopy(miniature.unet)
    converted = StableDiffusionLoraLoaderMixin.lora_state_dict(str(folder / "loras" / "look" / "weights.safetensors"))
    StableDiffusionLoraLoaderMixin.load_lora_into_unet(*converted, unet, adapter_name="look")
    expected = unet(LATENTS, TIMES, CONTEXT)[0]
    assert close(fused.unet(LATENTS, TIMES, CONTEXT)[0], expected)


def spelt(bundle: Bundle, spelling: str) -> dict[str, Tensor]:
    """The same layers in other words; alphas where the format has them."""
    ldm = unet_names(layout_of_config(bundle.unet.config))
    tensors: dict[str, Tensor] = {}
    for name, (down, up) in halves(bundle.unet).items():
        key, ends = {
            "ldm": (
                "lora_unet_" + ldm.ldm(f"{name}.weight").removesuffix(".weight").replace(".", "_"),
                "lora_{}.weight",
            ),
            "diffusers": (f"unet.{name}", "lora.{}.weight"),
            "peft": (f"base_model.model.{name}", "lora_{}.weight"),
        }[spelling]
        words = ("A", "B") if spelling == "peft" else ("down", "up")
        tensors |= {f"{key}.{ends.format(words[0])}": down, f"{key}.{ends.format(words[1])}": up}
        if spelling != "peft":
            tensors[f"{key}.alpha"] = torch.tensor(ALPHA)
    for name, (down, up) in halves(bundle.text_encoder).items():
        text = f"text_encoder.text_model.{name}"
        tensors |= {f"{text}.lora_A.weight": down, f"{text}.lora_B.weight": up}
        tensors[f"{text}.alpha"] = torch.tensor(ALPHA)
    return tensors


@pytest.mark.parametrize("spelling", ["ldm", "diffusers", "peft"])
def test_every_spelling_is_the_same_lora(folder: Path, miniature: Bundle, spelling: str) -> None:
    expected = load_bundle(str(folder), loras={"look": 1.0})
    place = put(folder, "look", spelt(miniature, spelling))
    if spelling == "peft":
        (place / "adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": ALPHA, "use_dora": False}))
    found = load_bundle(str(folder), loras={"look": 1.0})
    assert same_bits(found.unet, expected.unet)
    assert same_bits(found.text_encoder, expected.text_encoder)


def test_diffusers_first_format_is_read(miniature: Bundle) -> None:
    down, up = torch.zeros(2, 64), torch.ones(64, 2)
    attention = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
    tensors = {f"unet.{attention}.processor.to_out_lora.{end}.weight": v for end, v in (("down", down), ("up", up))}
    text = "text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora"
    tensors |= {f"{text}.down.weight": torch.zeros(2, 128), f"{text}.up.weight": torch.zeros(128, 2)}
    lora = parse_lora("old", tensors, miniature.unet, miniature.text_encoder)
    assert list(lora.unet) == [f"{attention}.to_out.0"]
    assert list(lora.text_encoder) == ["encoder.layers.0.self_attn.q_proj"]
    assert lora.unet[f"{attention}.to_out.0"].alpha == 2, "without alpha the scale is 1"


def test_the_header_that_diffusers_writes_names_alpha(folder: Path, miniature: Bundle) -> None:
    tensors = {name: value for name, value in spelt(miniature, "diffusers").items() if not name.endswith(".alpha")}
    header = {"lora_adapter_metadata": json.dumps({"unet.r": RANK, "unet.lora_alpha": 3})}
    lora = load_lora(put(folder, "look", tensors, header), miniature.unet, miniature.text_encoder)
    assert {layer.alpha for layer in lora.unet.values()} == {3.0}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_scale_of_0_is_the_base_bit_for_bit(folder: Path, dtype: torch.dtype) -> None:
    zero, base = load_bundle(str(folder), loras={"look": 0.0}, dtype=dtype), load_bundle(str(folder), dtype=dtype)
    assert same_bits(zero.unet, base.unet)
    assert same_bits(zero.text_encoder, base.text_encoder)
    assert zero.digest != base.digest, "the LoRA was chosen all the same"


def test_weights_are_added_in_float32_and_in_one_order(folder: Path, miniature: Bundle) -> None:
    put(folder, "light", kohya(miniature, seed=2))
    one = load_bundle(str(folder), loras={"look": 0.5, "light": -1.0})
    other = load_bundle(str(folder), loras={"light": -1.0, "look": 0.5})
    half = load_bundle(str(folder), loras={"look": 0.5, "light": -1.0}, dtype=torch.float16)
    assert same_bits(one.unet, other.unet)
    assert one.digest == other.digest
    assert same_bits(half.unet, one.unet.half())


def test_what_does_not_fit_is_named(folder: Path, miniature: Bundle) -> None:
    good = kohya(miniature)
    name = "lora_unet_conv_in"
    for tensors, message in (
        ({**good, "lora_unet_up_blocks_9_conv.alpha": torch.tensor(1.0)}, "found lora_unet_up_blocks_9_conv.alpha"),
        ({**good, f"{name}.dora_scale": torch.zeros(1)}, "found lora_unet_conv_in.dora_scale, expected a plain LoRA"),
        ({n: v for n, v in good.items() if n != f"{name}.lora_up.weight"}, "unet conv_in: found no up half"),
        ({**good, f"{name}.lora_up.weight": torch.zeros(64, 3)}, r"found shapes \[4, 4, 3, 3\] and \[64, 3\]"),
        ({**good, f"{name}.lora_down.weight": torch.tensor(1.0)}, r"found shapes \[\] and \[64, 4, 1, 1\]"),
        ({**good, f"{name}.alpha": torch.zeros(2)}, r"unet conv_in: alpha: found shape \[2\]"),
    ):
        put(folder, "look", tensors)
        with pytest.raises(BundleError, match=f"weights.safetensors: .*{message}"):
            load_bundle(str(folder), loras={"look": 1.0})
    with pytest.raises(BundleError, match=r"no 'other' in loras, expected one of \['lcm', 'look'\]"):
        load_bundle(str(folder), loras={"other": 1.0})
    place = put(folder, "look", good)
    (place / "adapter_config.json").write_text('{"use_dora": true}')
    with pytest.raises(BundleError, match="found use_dora True, expected a plain LoRA"):
        load_bundle(str(folder), loras={"look": 1.0})
