"""Single parts of a bundle: they load, or the error names the file and the fault."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from dentgen.errors import BundleError
from dentgen.models.bundle import Bundle, find_bundle
from dentgen.models.parts import (
    check_complete,
    chosen_part,
    known_parts,
    load_text_encoder,
    load_tiny_decoder,
    load_tokenizer,
    load_unet,
    load_vae,
)
from tests.models.part_files import save_tiny_decoder

FOLDER = find_bundle("miniature")


@pytest.mark.parametrize(
    ("part", "load"),
    [
        ("tokenizer", load_tokenizer),
        ("text_encoder", lambda folder: load_text_encoder(folder, torch.float32)),
        ("vae", lambda folder: load_vae(folder, torch.float32)),
        ("unet", lambda folder: load_unet(folder, torch.float32)),
    ],
)
def test_damaged_folders_are_named(tmp_path: Path, part: str, load: Callable[[Path], Any]) -> None:
    assert load(FOLDER / part) is not None
    (tmp_path / part).mkdir()
    with pytest.raises(BundleError) as caught:
        load(tmp_path / part)
    assert caught.value.file == str(tmp_path / part)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_networks_take_the_precision_that_is_asked_for(dtype: torch.dtype) -> None:
    for net in (load_vae(FOLDER / "vae", dtype), load_text_encoder(FOLDER / "text_encoder", dtype)):
        assert {parameter.dtype for parameter in net.parameters()} == {dtype}


def test_a_text_encoder_without_a_tensor_is_an_error(bundle_copy: Path) -> None:
    """Transformers alone would fill it with random numbers."""
    weights = bundle_copy / "text_encoder" / "model.safetensors"
    tensors = load_file(weights)
    tensors.pop("final_layer_norm.bias", None)
    tensors.pop("text_model.final_layer_norm.bias", None)
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(BundleError) as caught:
        load_text_encoder(bundle_copy / "text_encoder", torch.float32)
    assert caught.value.key.endswith("final_layer_norm.bias")
    assert "CLIPTextModel" in caught.value.expected


def test_parameters_on_the_meta_device_are_missing(miniature: Bundle) -> None:
    check_complete("here", miniature.vae)
    with pytest.raises(BundleError) as caught:
        check_complete("here", torch.nn.Linear(2, 2, device="meta"))
    assert (caught.value.file, caught.value.key) == ("here", "weight")


def test_a_tiny_decoder_must_decode_the_autoencoders_latents(bundle_copy: Path, miniature: Bundle) -> None:
    folder = bundle_copy / "tiny_decoder"
    shutil.rmtree(folder)

    def caught() -> BundleError:
        with pytest.raises(BundleError) as error:
            load_tiny_decoder(folder, miniature.vae, torch.float32)
        return error.value

    assert (caught().file, caught().found) == (str(bundle_copy), "no tiny_decoder")
    save_tiny_decoder(bundle_copy, latent_channels=16)
    assert caught().found == "latents of 16 channels and 8 pixels"
    assert caught().expected.startswith("latents of 4 channels and 8 pixels")
    save_tiny_decoder(bundle_copy, blocks=3)
    assert caught().found == "latents of 4 channels and 4 pixels"
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    assert caught().file == str(folder)


def test_optional_parts_are_found_by_name() -> None:
    assert chosen_part(FOLDER, "adapters", "blended") == FOLDER / "adapters" / "blended"
    assert known_parts(FOLDER, "adapters") == ["blended", "curvature", "findings", "lighting", "normal", "segmentation"]
    assert known_parts(FOLDER, "nothing") == []


def test_parts_with_a_suffix_are_files(tmp_path: Path) -> None:
    (tmp_path / "embeddings" / "folder.safetensors").mkdir(parents=True)
    (tmp_path / "embeddings" / "smile.safetensors").write_bytes(b"")
    assert known_parts(tmp_path, "embeddings", ".safetensors") == ["smile"]
    expected = tmp_path / "embeddings" / "smile.safetensors"
    assert chosen_part(tmp_path, "embeddings", "smile", ".safetensors") == expected


@pytest.mark.parametrize("name", ["depth", "", ".", "..", "../adapters/blended", "blended/"])
def test_names_that_are_unknown_or_paths_are_an_error(name: str) -> None:
    with pytest.raises(BundleError) as caught:
        chosen_part(FOLDER, "adapters", name)
    assert (caught.value.file, caught.value.found) == (str(FOLDER / "adapters"), f"no {name!r}")


@pytest.mark.parametrize("value", [[10**9] * 4, "2", 0, -1.0, True, 1e308, float("nan")])
def test_a_config_without_a_number_where_one_is_needed_is_refused(tmp_path: Path, value: object) -> None:
    folder = Path(shutil.copytree(find_bundle("miniature") / "tiny_decoder", tmp_path / "tiny_decoder"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"upsampling_scaling_factor": value}))
    with pytest.raises(BundleError) as caught:
        load_tiny_decoder(folder, load_vae(find_bundle("miniature") / "vae", torch.float32), torch.float32)
    assert caught.value.key == "upsampling_scaling_factor"
    assert caught.value.file in {str(folder), str(folder / "config.json")}
