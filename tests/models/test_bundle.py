"""Bundles: digests, choices, optional parts, and errors that name what is missing or damaged."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, UniPCMultistepScheduler
from safetensors.torch import load_file, save_file

from dentgen.errors import BundleError, SpecError
from dentgen.models.bundle import Bundle, bundle_digest, find_bundle, load_bundle, parts_digest
from dentgen.models.file_digest import file_sha256
from dentgen.spec.model import ModelSpec
from tests.diffusion.parts import full_control
from tests.models.part_files import same_bits, save_tiny_decoder


def test_a_copied_folder_is_the_same_bundle(bundle_copy: Path, miniature: Bundle) -> None:
    loaded = load_bundle(str(bundle_copy), ["blended"])
    assert loaded.digest == miniature.digest
    for one, other in ((loaded.unet, miniature.unet), (loaded.vae, miniature.vae), (loaded.control, miniature.control)):
        assert one is not None
        assert other is not None
        assert same_bits(one, other)


def test_loaded_networks_are_ready_for_inference(miniature: Bundle) -> None:
    for net in (miniature.unet, miniature.vae, miniature.text_encoder, miniature.control):
        assert net is not None
        assert not net.training
        assert not any(parameter.requires_grad for parameter in net.parameters())
    assert miniature.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)


def test_the_digest_covers_names_and_contents(tmp_path: Path) -> None:
    """Written out by hand: a line with name and sha256 of every deciding file, in order."""
    contents = {"unet/config.json": b"{}", "unet/weights.safetensors": b"\x00" * 3_000_000, "vae/vocab.txt": b"x"}
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "unet" / "README.md").write_text("not a deciding file")
    lines = "".join(f"{name} {hashlib.sha256(content).hexdigest()}\n" for name, content in contents.items())
    assert parts_digest(tmp_path, ["unet", "vae"]) == hashlib.sha256(lines.encode()).hexdigest()
    large = contents["unet/weights.safetensors"]
    assert file_sha256(tmp_path / "unet" / "weights.safetensors") == hashlib.sha256(large).hexdigest()


def test_the_miniatures_digest_is_known() -> None:
    """It is part of every plan and of every ledger record."""
    assert bundle_digest("miniature", ["blended"]).startswith("fa1381624b9262a365cdc09f")


def test_one_changed_byte_changes_the_digest(bundle_copy: Path) -> None:
    before = bundle_digest(str(bundle_copy), ["blended"])
    (bundle_copy / "README.md").write_text("not a deciding file")
    assert bundle_digest(str(bundle_copy), ["blended"]) == before
    weights = bundle_copy / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert bundle_digest(str(bundle_copy), ["blended"]) != before


def test_the_digest_covers_chosen_controlnets(bundle_copy: Path, miniature: Bundle) -> None:
    name = str(bundle_copy)
    before = bundle_digest(name, ["blended"])
    full_control(miniature)[0].save_pretrained(bundle_copy / "controlnets" / "edges")
    assert bundle_digest(name, ["blended"]) == before
    chosen = bundle_digest(name, ["blended"], controlnets=["edges"])
    weights = bundle_copy / "controlnets" / "edges" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert len({before, chosen, bundle_digest(name, ["blended"], controlnets=["edges"])}) == 3


def test_a_model_section_and_arguments_make_the_same_choice() -> None:
    spec = ModelSpec(adapters={"blended": 1.5}, loras={"lcm": 0.5}, decoder="tiny")
    by_arguments = bundle_digest("miniature", ["blended"], loras={"lcm": 1.0}, decoder="tiny")
    assert bundle_digest(spec) == by_arguments, "scales decide nothing about the files"
    assert bundle_digest(ModelSpec(), decoder="tiny", loras={"lcm": 1.0}) == by_arguments, "arguments override"
    assert bundle_digest("miniature") == bundle_digest(ModelSpec(adapters={}))


def test_every_choice_of_parts_has_its_own_digest() -> None:
    choices = [
        ModelSpec(adapters={}), ModelSpec(), ModelSpec(adapters={"normal": 1.0}), ModelSpec(loras={"lcm": 1.0}),
        ModelSpec(decoder="tiny"), ModelSpec(loras={"lcm": 1.0}, decoder="tiny"),
    ]  # fmt: skip
    assert len({bundle_digest(choice) for choice in choices}) == len(choices)


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), "strong"])
def test_scales_must_be_finite_numbers(scale: object) -> None:
    with pytest.raises(SpecError) as caught:
        load_bundle("miniature", loras={"lcm": scale})  # type: ignore[dict-item]
    assert caught.value.key == "loras.lcm"
    assert str(scale) in str(caught.value.found)


def test_the_miniature_fits_into_a_package() -> None:
    assert sum(file.stat().st_size for file in find_bundle("miniature").rglob("*") if file.is_file()) < 31e6


def test_diffusers_pipelines_run_on_the_same_parts(miniature: Bundle) -> None:
    pipeline = StableDiffusionPipeline(
        vae=miniature.vae, text_encoder=miniature.text_encoder, tokenizer=miniature.tokenizer, unet=miniature.unet,
        scheduler=UniPCMultistepScheduler.from_pretrained(miniature.folder / "scheduler"),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("a photo of both teeth", num_inference_steps=2, guidance_scale=1.0, output_type="np").images
    assert image.shape == (1, 256, 256, 3)


@pytest.mark.integration
def test_missing_parts_and_components_are_named(bundle_copy: Path) -> None:
    with pytest.raises(BundleError) as caught:
        load_bundle(str(bundle_copy), ["depth"])
    error = caught.value
    assert (error.file, error.found) == (f"{bundle_copy}/adapters", "no 'depth'")
    assert error.expected.startswith("one of ['blended', 'curvature', ")
    shutil.rmtree(bundle_copy / "vae")
    with pytest.raises(BundleError) as caught:
        load_bundle(str(bundle_copy))
    assert (caught.value.file, caught.value.found) == (str(bundle_copy), "no vae")


def test_errors_read_as_one_line(bundle_copy: Path) -> None:
    shutil.rmtree(bundle_copy / "controlnet")
    with pytest.raises(BundleError) as caught:
        load_bundle(str(bundle_copy), ["blended"])
    expected = "found no controlnet, expected a control base for the adapters ['blended']"
    assert str(caught.value) == f"{bundle_copy}: {expected}"


def test_errors_name_the_bundle_instead_of_its_local_copy() -> None:
    with pytest.raises(BundleError) as caught:
        load_bundle("miniature", ["depth"])
    assert caught.value.file == "miniature/adapters"


def test_weights_without_a_tensor_are_an_error(bundle_copy: Path) -> None:
    weights = bundle_copy / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    del tensors["conv_out.bias"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(BundleError) as caught:
        load_bundle(str(bundle_copy))
    error = caught.value
    assert (error.file, error.key) == (f"{bundle_copy}/unet", "conv_out.bias")


def test_pickled_weights_are_not_read(bundle_copy: Path) -> None:
    weights = bundle_copy / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, bundle_copy / "unet" / "diffusion_pytorch_model.bin")
    weights.unlink()
    with pytest.raises(BundleError) as caught:
        load_bundle(str(bundle_copy))
    assert caught.value.file == f"{bundle_copy}/unet"


@pytest.mark.slow
def test_the_tiny_decoder_is_loaded_only_if_chosen(bundle_copy: Path, miniature: Bundle) -> None:
    save_tiny_decoder(bundle_copy)
    name = str(bundle_copy)
    plain, chosen = load_bundle(name, ["blended"]), load_bundle(name, ["blended"], decoder="tiny")
    assert plain.tiny_decoder is None
    assert plain.digest == miniature.digest
    assert isinstance(chosen.tiny_decoder, AutoencoderTiny)
    assert not chosen.tiny_decoder.training
    assert chosen.digest == bundle_digest(name, ["blended"], decoder="tiny") != plain.digest


def test_without_adapters_the_bare_base_is_loaded() -> None:
    bundle = load_bundle("miniature")
    assert list(bundle.shared) == ["base"]
    assert bundle.control is bundle.shared["base"]
    several = load_bundle("miniature", ["segmentation", "lighting"])
    assert list(several.shared) == ["segmentation", "lighting"]
    assert several.control is None
