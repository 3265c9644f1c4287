"""Single-file checkpoints: the miniature in LDM's keys comes back as the same networks, without any hub."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, UniPCMultistepScheduler
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from torch import Tensor

from dentgen.errors import BundleError
from dentgen.models.bundle import Bundle, find_bundle, load_bundle
from dentgen.models.checkpoints.file import write_tensors
from dentgen.models.checkpoints.import_file import import_checkpoint
from dentgen.models.checkpoints.ldm_keys import layout_of_config, unet_names
from dentgen.models.checkpoints.single_file import single_file

LIKE = find_bundle("miniature")
_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def ldm_vae_name(name: str, levels: int) -> str:
    """LDM's name of one of diffusers' autoencoder tensors: up blocks are counted from the other end."""
    name = re.sub(r"decoder\.up_blocks\.(\d+)", lambda found: f"decoder.up.{levels - 1 - int(found[1])}", name)
    name = name.replace("down_blocks", "down").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
    name = name.replace("resnets", "block").replace("downsamplers.0", "downsample").replace("upsamplers.0", "upsample")
    if "mid_block.attentions.0" in name:
        for diffusers, ldm in _ATTENTION.items():
            name = name.replace(f"attentions.0.{diffusers}.", f"attentions.0.{ldm}.")
        name = name.replace("mid_block.attentions.0", "mid.attn_1")
    return name.replace("conv_norm_out", "norm_out")


def ldm_tensors(bundle: Bundle) -> dict[str, Tensor]:
    """A bundle's weights as LDM code saves them, with what a training checkpoint has besides."""
    names = unet_names(layout_of_config(bundle.unet.config))
    tensors = {f"model.diffusion_model.{names.ldm(n)}": v for n, v in bundle.unet.state_dict().items()}
    for name, value in bundle.vae.state_dict().items():
        ldm = ldm_vae_name(name, len(bundle.vae.config["block_out_channels"]))
        convolution = ".attn_1." in ldm and value.ndim == 2
        tensors[f"first_stage_model.{ldm}"] = value[:, :, None, None] if convolution else value
    text = "cond_stage_model.transformer.text_model."
    tensors |= {text + n: v for n, v in bundle.text_encoder.state_dict().items()}
    tensors[f"{text}embeddings.position_ids"] = torch.arange(77)[None]
    return {**tensors, "betas": torch.zeros(1000), "model_ema.decay": torch.zeros(())}


def same_bits(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_miniature_in_one_file_is_the_miniature(miniature: Bundle, tmp_path: Path) -> None:
    write_tensors(ldm_tensors(miniature), tmp_path / "mini.safetensors")
    done = import_checkpoint(tmp_path / "mini.safetensors", tmp_path / "bundle", bundle="miniature")
    assert done.kind == "single-file"
    loaded = load_bundle(str(tmp_path / "bundle"))
    for part in ("unet", "vae", "text_encoder"):
        assert same_bits(getattr(loaded, part), getattr(miniature, part)), part
    generator = torch.Generator().manual_seed(0)
    latents, prompt = torch.randn(1, 4, 16, 16, generator=generator), torch.randn(1, 77, 128, generator=generator)
    with torch.no_grad():
        # Not to the bit: float32 weights are used where they lie in the file, and sums depend on alignment.
        for found, expected in (
            (loaded.unet(latents, 500, prompt)[0], miniature.unet(latents, 500, prompt)[0]),
            (loaded.vae.decode(latents)[0], miniature.vae.decode(latents)[0]),
        ):
            assert float((found - expected).abs().max()) < 1e-5 * float(expected.abs().max())
    tokens = loaded.tokenizer("a photo of both teeth").input_ids
    assert tokens == miniature.tokenizer("a photo of both teeth").input_ids


def test_diffusers_takes_the_unet_apart_alike(miniature: Bundle) -> None:
    tensors = ldm_tensors(miniature)
    expected = convert_ldm_unet_checkpoint(dict(tensors), miniature.unet.config)
    found = single_file("a", tensors, LIKE).unet
    assert found.keys() == expected.keys()
    assert all(found[name] is expected[name] for name in found)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.diffusion_model.label_emb.0.0.weight", torch.zeros(1), r"found a tensor label_emb\.0\.0\.weight"),
        (
            "model.diffusion_model.out.2.bias",
            torch.zeros(3),
            r"model\.diffusion_model\.out\.2\.bias: found shape \[3\]",
        ),
        ("model.diffusion_model.out.2.bias", None, r"found no model\.diffusion_model\.out\.2\.bias"),
        (
            "first_stage_model.encoder.conv_in.weight",
            torch.zeros(16, 3, 1, 1),
            r"encoder\.conv_in\.weight: found shape",
        ),
        ("first_stage_model.encoder.strange.weight", torch.zeros(1), r"found \d+ tensors, expected \d+"),
        ("first_stage_model.quant_conv.bias", None, r"found no quant_conv\.bias"),
        ("cond_stage_model.transformer.text_model.final_layer_norm.bias", None, r"found no final_layer_norm\.bias"),
        ("conditioner.embedders.0.x", torch.zeros(1), "Stable Diffusion XL's, expected Stable Diffusion 1.5"),
        ("cond_stage_model.model.x", torch.zeros(1), "Stable Diffusion 2's, expected Stable Diffusion 1.5"),
    ],
)
def test_what_does_not_fit_is_named(miniature: Bundle, key: str, value: Tensor | None, message: str) -> None:
    tensors = {**ldm_tensors(miniature)}
    tensors.pop(key, None)
    if value is not None:
        tensors[key] = value
    with pytest.raises(BundleError, match=f"a.safetensors.*{message}"):
        single_file("a.safetensors", tensors, LIKE)


def test_a_file_without_an_autoencoder_is_refused(miniature: Bundle) -> None:
    tensors = {n: v for n, v in ldm_tensors(miniature).items() if not n.startswith("first_stage_model")}
    with pytest.raises(BundleError, match=r"found no first_stage_model\.\*"):
        single_file("a.safetensors", tensors, LIKE)


def test_a_dreambooth_folder_is_a_bundle(miniature: Bundle, tmp_path: Path) -> None:
    """Trainers save a whole pipeline; its index and further parts do not stand in the way."""
    scheduler = UniPCMultistepScheduler.from_pretrained(miniature.folder / "scheduler")
    StableDiffusionPipeline(
        vae=miniature.vae, text_encoder=miniature.text_encoder, tokenizer=miniature.tokenizer, unet=miniature.unet,
        scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(tmp_path / "dreambooth")  # fmt: skip
    (tmp_path / "dreambooth" / "checkpoint-500").mkdir()
    loaded = load_bundle(str(tmp_path / "dreambooth"))
    assert loaded.control is None
    for part in ("unet", "vae", "text_encoder"):
        assert same_bits(getattr(loaded, part), getattr(miniature, part)), part
