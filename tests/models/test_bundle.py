"""Bundles: the miniature loads, damaged or strange ones are refused with a reason."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from dentgen import storage
from dentgen.errors import BundleError
from dentgen.models.bundle import Bundle, bundle_digest, find_bundle, load_bundle
from dentgen.seeding import fresh_weights
from tests.diffusion.parts import full_control


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(find_bundle("miniature"), tmp_path / "bundle"))


def test_a_folder_is_the_same_bundle(copy: Path, miniature: Bundle) -> None:
    loaded = load_bundle(str(copy), ["blended"])
    assert loaded.digest == miniature.digest
    for one, other in ((loaded.unet, miniature.unet), (loaded.vae, miniature.vae), (loaded.control, miniature.control)):
        assert one is not None
        assert other is not None
        assert all(
            torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        )


def test_the_digest_sees_one_byte(copy: Path) -> None:
    before = bundle_digest(str(copy), ["blended"])
    (copy / "README.md").write_text("notes decide nothing")
    assert bundle_digest(str(copy), ["blended"]) == before
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert bundle_digest(str(copy), ["blended"]) != before


def test_the_digest_sees_a_chosen_controlnet(copy: Path, miniature: Bundle) -> None:
    before = bundle_digest(str(copy), ["blended"])
    full_control(miniature)[0].save_pretrained(copy / "controlnets" / "edges")
    assert bundle_digest(str(copy), ["blended"]) == before
    chosen = bundle_digest(str(copy), ["blended"], controlnets=["edges"])
    weights = copy / "controlnets" / "edges" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert len({before, chosen, bundle_digest(str(copy), ["blended"], controlnets=["edges"])}) == 3


def test_it_fits_into_a_package() -> None:
    assert sum(file.stat().st_size for file in find_bundle("miniature").rglob("*") if file.is_file()) < 30e6


def test_diffusers_reads_the_same_folder(miniature: Bundle) -> None:
    """The layout is Stable Diffusion 1.5's: diffusers' own pipeline runs on the same parts."""
    from diffusers import UniPCMultistepScheduler

    pipeline = StableDiffusionPipeline(
        vae=miniature.vae, text_encoder=miniature.text_encoder, tokenizer=miniature.tokenizer, unet=miniature.unet,
        scheduler=UniPCMultistepScheduler.from_pretrained(miniature.folder / "scheduler"),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("a photo of both teeth", num_inference_steps=2, guidance_scale=1.0, output_type="np").images
    assert image.shape == (1, 128, 128, 3)


def test_what_is_missing_is_named(copy: Path) -> None:
    with pytest.raises(BundleError, match=r"no 'depth' in adapters, expected one of \['blended', 'curvature', "):
        load_bundle(str(copy), ["depth"])
    shutil.rmtree(copy / "vae")
    with pytest.raises(BundleError, match="found no vae"):
        load_bundle(str(copy))


def test_weights_that_lack_a_tensor_are_refused(copy: Path) -> None:
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    del tensors["conv_out.bias"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(BundleError, match=r"UNet2DConditionModel's weights lack conv_out\.bias"):
        load_bundle(str(copy))


def test_pickles_are_not_read(copy: Path) -> None:
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, copy / "unet" / "diffusion_pytorch_model.bin")
    weights.unlink()
    with pytest.raises(BundleError, match="unet"):
        load_bundle(str(copy))


def test_an_adapter_without_safetensors_is_refused(copy: Path) -> None:
    (copy / "adapters" / "blended" / "adapter_model.safetensors").unlink()
    with pytest.raises(BundleError, match=r"adapter_model\.safetensors"):
        load_bundle(str(copy), ["blended"])


def save_tiny_decoder(bundle: Path, latent_channels: int = 4, blocks: int = 4) -> None:
    """A small decoder with weights from a seed, in the bundle's place for it."""
    widths = (8,) * blocks
    with fresh_weights(0, "tiny decoder"):
        AutoencoderTiny(
            encoder_block_out_channels=widths, decoder_block_out_channels=widths, latent_channels=latent_channels,
            num_encoder_blocks=(1,) * blocks, num_decoder_blocks=(1,) * blocks,
        ).save_pretrained(bundle / "tiny_decoder")  # fmt: skip


def test_a_tiny_decoder_is_loaded_where_it_is_chosen(copy: Path, miniature: Bundle) -> None:
    save_tiny_decoder(copy)
    plain, chosen = load_bundle(str(copy), ["blended"]), load_bundle(str(copy), ["blended"], decoder="tiny")
    assert plain.tiny_decoder is None
    assert plain.digest == miniature.digest
    assert isinstance(chosen.tiny_decoder, AutoencoderTiny)
    assert not chosen.tiny_decoder.training
    assert not any(p.requires_grad for p in chosen.tiny_decoder.parameters())
    assert chosen.digest == bundle_digest(str(copy), ["blended"], decoder="tiny") != plain.digest


def test_a_tiny_decoder_that_does_not_fit_is_refused(copy: Path) -> None:
    shutil.rmtree(copy / "tiny_decoder")
    with pytest.raises(BundleError, match="found no tiny_decoder"):
        load_bundle(str(copy), decoder="tiny")
    save_tiny_decoder(copy, latent_channels=16)
    with pytest.raises(BundleError, match="found latents of 16 channels and 8 pixels, expected 4 channels and 8"):
        load_bundle(str(copy), decoder="tiny")
    save_tiny_decoder(copy, blocks=3)
    with pytest.raises(BundleError, match="found latents of 4 channels and 4 pixels"):
        load_bundle(str(copy), decoder="tiny")
    (copy / "tiny_decoder" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(BundleError, match="tiny_decoder"):
        load_bundle(str(copy), decoder="tiny")


def test_a_bundle_in_an_object_store_is_the_one_on_disk(
    s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DENTGEN_CACHE", str(tmp_path))
    folder, url = find_bundle("miniature"), storage.join(s3_root, "bundles", "mine")
    for path in folder.rglob("*"):
        if path.is_file():
            storage.put_if_absent(storage.join(url, path.relative_to(folder).as_posix()), path.read_bytes())
    adapters = ["blended"]
    assert bundle_digest(url, adapters) == bundle_digest("miniature", adapters)
    assert load_bundle(url, adapters).digest == bundle_digest("miniature", adapters)
    (copy,) = (tmp_path / "bundles").iterdir()
    before = copy.stat().st_mtime_ns
    assert find_bundle(url) == copy
    assert copy.stat().st_mtime_ns == before, "what did not change is not fetched again"
    storage.overwrite(storage.join(url, "unet", "config.json"), b"{}")
    assert find_bundle(url) != copy
    with pytest.raises(BundleError, match="nothing"):
        find_bundle(storage.join(s3_root, "bundles", "other"))
