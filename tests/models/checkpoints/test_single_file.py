"""Single-file checkpoints: the miniature in LDM's layout is converted back to the same networks, offline."""

from __future__ import annotations

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
from dentgen.models.checkpoints.single_file import single_file
from tests.models.checkpoints.ldm_file import ldm_tensors
from tests.models.part_files import same_bits

LIKE = find_bundle("miniature")


@pytest.mark.integration
def test_the_miniature_as_a_single_file_is_the_miniature(miniature: Bundle, tmp_path: Path) -> None:
    write_tensors(ldm_tensors(miniature), tmp_path / "mini.safetensors")
    done = import_checkpoint(tmp_path / "mini.safetensors", tmp_path / "bundle", bundle="miniature")
    assert done.kind == "single-file"
    loaded = load_bundle(str(tmp_path / "bundle"))
    for part in ("unet", "vae", "text_encoder"):
        assert same_bits(getattr(loaded, part), getattr(miniature, part)), part
    generator = torch.Generator().manual_seed(0)
    latents, prompt = torch.randn(1, 4, 16, 16, generator=generator), torch.randn(1, 77, 128, generator=generator)
    with torch.no_grad():
        # Not bit for bit: safetensors maps float32 weights from the file, and sums depend on their alignment.
        for found, expected in (
            (loaded.unet(latents, 500, prompt)[0], miniature.unet(latents, 500, prompt)[0]),
            (loaded.vae.decode(latents)[0], miniature.vae.decode(latents)[0]),
        ):
            assert float((found - expected).abs().max()) < 1e-5 * float(expected.abs().max())
    tokens = loaded.tokenizer("a photo of both teeth").input_ids
    assert tokens == miniature.tokenizer("a photo of both teeth").input_ids


def test_the_unet_is_converted_as_by_diffusers(miniature: Bundle) -> None:
    tensors = ldm_tensors(miniature)
    expected = convert_ldm_unet_checkpoint(dict(tensors), miniature.unet.config)
    found = single_file("a", tensors, LIKE).unet
    assert found.keys() == expected.keys()
    assert all(found[name] is expected[name] for name in found)


def conversion_error(tensors: dict[str, Tensor]) -> BundleError:
    with pytest.raises(BundleError) as caught:
        single_file("a.safetensors", tensors, LIKE)
    assert caught.value.file == "a.safetensors"
    return caught.value


UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.text_model."


@pytest.mark.parametrize(
    ("name", "value", "key", "found"),
    [
        (f"{UNET}label_emb.0.0.weight", torch.zeros(1), f"{UNET}label_emb.0.0.weight", "an unknown tensor"),
        (f"{UNET}out.2.bias", torch.zeros(3), f"{UNET}out.2.bias", "shape [3]"),
        (f"{UNET}out.2.bias", None, f"{UNET}out.2.bias", "no such tensor"),
        (f"{VAE}encoder.conv_in.weight", torch.zeros(16, 3, 1, 1), f"{VAE}* (encoder.conv_in.weight", "shape [16,"),
        (f"{VAE}encoder.strange.weight", torch.zeros(1), f"{VAE}*", "189 tensors"),
        (f"{VAE}quant_conv.bias", None, f"{VAE}* (quant_conv.bias", "no such tensor"),
        (f"{TEXT}final_layer_norm.bias", None, f"{TEXT}final_layer_norm.bias", "no such tensor"),
        ("conditioner.embedders.0.x", torch.zeros(1), "conditioner.embedders.0.x", "a tensor of Stable Diffusion XL"),
        ("cond_stage_model.model.x", torch.zeros(1), "cond_stage_model.model.x", "a tensor of Stable Diffusion 2"),
    ],
)
def test_files_that_do_not_fit_are_an_error(
    miniature: Bundle, name: str, value: Tensor | None, key: str, found: str
) -> None:
    tensors = ldm_tensors(miniature)
    tensors.pop(name, None)
    if value is not None:
        tensors[name] = value
    error = conversion_error(tensors)
    assert error.key.startswith(key)
    assert error.found.startswith(found)


def test_a_file_without_an_autoencoder_is_an_error(miniature: Bundle) -> None:
    tensors = {n: v for n, v in ldm_tensors(miniature).items() if not n.startswith("first_stage_model")}
    error = conversion_error(tensors)
    assert (error.key, error.found) == ("first_stage_model.*", "no such tensors")


def test_a_dreambooth_folder_is_a_bundle(miniature: Bundle, tmp_path: Path) -> None:
    """Trainers save a whole pipeline; its index and checkpoints are ignored."""
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
