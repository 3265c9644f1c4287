"""Networks filled from files: the bits and formats of diffusers, shared and converted without waste, faults named."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from dentgen.errors import BundleError
from dentgen.models.bundle import find_bundle, load_bundle
from dentgen.models.parts import load_text_encoder, load_unet, load_vae
from dentgen.models.weights import converted, empty_network
from tests.models.part_files import same_bits

FOLDER = find_bundle("miniature")
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_networks_are_those_of_the_libraries(dtype: torch.dtype) -> None:
    for found, expected in (
        (load_unet(FOLDER / "unet", dtype), UNet2DConditionModel.from_pretrained(FOLDER / "unet", torch_dtype=dtype)),
        (load_vae(FOLDER / "vae", dtype), AutoencoderKL.from_pretrained(FOLDER / "vae", torch_dtype=dtype)),
        (
            load_text_encoder(FOLDER / "text_encoder", dtype),
            CLIPTextModel.from_pretrained(FOLDER / "text_encoder", dtype=dtype),
        ),
    ):
        assert same_bits(found, expected)
        strides = [[value.stride() for value in net.state_dict().values()] for net in (found, expected)]
        assert strides[0] == strides[1]
        assert [v.tolist() for v in found.buffers()] == [v.tolist() for v in expected.buffers()]
        assert found.training == expected.training
        assert all(parameter.requires_grad for parameter in found.parameters())


def test_autoencoders_of_older_diffusers_load(bundle_copy: Path) -> None:
    file = bundle_copy / "vae" / WEIGHTS
    expected, tensors = load_vae(bundle_copy / "vae", torch.float32), load_file(file)
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        for name in [name for name in tensors if f".{new}." in name]:
            tensors[name.replace(f".{new}.", f".{old}.")] = tensors.pop(name)
    assert any(".proj_attn." in name for name in tensors)
    save_file(tensors, file)
    assert same_bits(load_vae(bundle_copy / "vae", torch.float32), expected)


def test_text_encoders_of_older_transformers_load(bundle_copy: Path) -> None:
    file = bundle_copy / "text_encoder" / "model.safetensors"
    expected = load_text_encoder(bundle_copy / "text_encoder", torch.float32)
    tensors = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in load_file(file).items()}
    save_file({**tensors, "text_model.embeddings.position_ids": torch.arange(77)[None]}, file)
    assert same_bits(load_text_encoder(bundle_copy / "text_encoder", torch.float32), expected)


def test_adapters_share_what_they_do_not_change() -> None:
    bundle = load_bundle("miniature", ["blended", "normal"])
    one, other = (dict(bundle.shared[name].named_parameters()) for name in ("blended", "normal"))
    shared = {name for name in one if one[name] is other[name]}
    assert "down_blocks.0.resnets.0.conv1.weight" in shared
    assert not any("controlnet" in name or ".to_q." in name for name in shared)
    assert len({one[name].data_ptr() for name in one} & {other[name].data_ptr() for name in other}) == len(shared)


def test_conversions_copy() -> None:
    value = torch.randn(3, 2, 3, 3)
    for channels_last in (False, True):
        found = converted(value, torch.float32, channels_last=channels_last)
        assert torch.equal(found, value)
        assert found.data_ptr() != value.data_ptr()
        assert found.is_contiguous(memory_format=torch.channels_last) == channels_last


def change_config(bundle: Path, part: str, **values: Any) -> None:
    file = bundle / part / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


ABSURD: dict[str, tuple[str, dict[str, Any]]] = {
    "channels": ("unet", {"block_out_channels": [10**9, 10**9, 10**9]}),
    "channels that would fit a number": ("unet", {"block_out_channels": [960000, 960000, 960000]}),
    "layers": ("unet", {"layers_per_block": 10**6}),
    "depth": ("unet", {"transformer_layers_per_block": [500, 500, 500]}),
    "groups": ("unet", {"norm_num_groups": 0}),
    "text": ("text_encoder", {"hidden_size": 10**9}),
    "text layers": ("text_encoder", {"num_hidden_layers": 10**6}),
    "words": ("text_encoder", {"vocab_size": 10**12}),
    "nothing": ("vae", {"block_out_channels": []}),
    "text for a number": ("vae", {"latent_channels": "many"}),
    "not finite": ("vae", {"scaling_factor": float("nan")}),
    "a long list": ("unet", {"block_out_channels": [32] * 1000}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", ABSURD)
def test_absurd_configs_are_refused_before_anything_is_allocated(bundle_copy: Path, kind: str) -> None:
    part, values = ABSURD[kind]
    change_config(bundle_copy, part, **values)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BundleError) as caught:
        load_bundle(str(bundle_copy))
    assert caught.value.file.startswith(f"{bundle_copy}/{part}")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_wrong_tensors_are_named(bundle_copy: Path) -> None:
    file = bundle_copy / "unet" / WEIGHTS
    tensors = load_file(file)
    for change, key, found in (
        ({"conv_in.bias": torch.zeros(3)}, "conv_in.bias", "[3] of torch.float32"),
        ({"conv_in.bias": torch.zeros(64, dtype=torch.int8)}, "conv_in.bias", "[64] of torch.int8"),
    ):
        save_file({**tensors, **change}, file)
        with pytest.raises(BundleError) as caught:
            load_unet(bundle_copy / "unet", torch.float32)
        assert (caught.value.file, caught.value.key, caught.value.found) == (str(bundle_copy / "unet"), key, found)


def test_a_config_that_is_no_object_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(BundleError) as caught:
        empty_network(tmp_path, UNet2DConditionModel.from_config)
    assert (caught.value.file, caught.value.message) == (str(tmp_path), "config.json")


#: The peak of getrusage would begin with that of the test's own process, which had the network in float32.
_PEAK = """
import re, sys, torch
from dentgen.models.parts import load_unet
from pathlib import Path
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
net = load_unet(Path(sys.argv[1]), torch.float16, channels_last=True)
print((peak() - before) / 1024)
"""


@pytest.mark.slow
def test_loading_takes_the_memory_of_the_network_and_one_batch(tmp_path: Path) -> None:
    """A UNet of 860 MB in float32 and 430 MB in float16; its file is mapped 256 MB at a time."""
    with torch.device("cpu"):
        unet = UNet2DConditionModel.from_config({**dict(load_unet(FOLDER / "unet", torch.float32).config),
                                                 "block_out_channels": [320, 640, 1280]})  # fmt: skip
    unet.save_pretrained(tmp_path / "unet")
    megabytes = sum(parameter.numel() for parameter in unet.parameters()) * 4 / 2**20
    del unet
    run = subprocess.run(
        [sys.executable, "-c", _PEAK, str(tmp_path / "unet")], capture_output=True, text=True, check=True
    )
    assert megabytes / 2 < float(run.stdout) < megabytes / 2 + 256 + 150
