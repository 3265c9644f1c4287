"""Exported networks: fp16, readable by their library, without traces of this machine."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file
from transformers import CLIPTokenizer

from dentgen.models.bundle import find_bundle
from dentgen.training.export import save_network, save_tokenizer


def tiny() -> AutoencoderTiny:
    net: AutoencoderTiny = AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )  # fmt: skip
    return net


def test_weights_are_fp16_and_the_network_stays_as_it_is(tmp_path: Path) -> None:
    net = tiny().train()
    save_network(net, tmp_path)
    saved = load_file(tmp_path / "diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in saved.values()} == {torch.float16}
    assert {value.dtype for value in net.state_dict().values()} == {torch.float32}
    assert net.training
    assert all(torch.equal(value, net.state_dict()[name].half()) for name, value in saved.items())


def test_a_config_names_no_path_and_loads_without_warning(tmp_path: Path) -> None:
    net = tiny()
    net.register_to_config(_name_or_path="/home/someone/bundle")
    save_network(net, tmp_path)
    assert "/home/someone" not in (tmp_path / "config.json").read_text()
    assert "block_out_channels" not in json.loads((tmp_path / "config.json").read_text())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AutoencoderTiny.from_pretrained(tmp_path)


def test_a_tokenizer_forgets_its_last_call(tmp_path: Path) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(find_bundle("miniature") / "tokenizer", local_files_only=True)
    tokenizer(["teeth"], padding="max_length", truncation=True)
    save_tokenizer(tokenizer, tmp_path)
    saved = json.loads((tmp_path / "tokenizer.json").read_text())
    assert saved["padding"] is saved["truncation"] is None
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert not {"is_local", "local_files_only"} & set(config)
    assert config["model_max_length"] == 77
    assert tokenizer.backend_tokenizer.padding is not None, "the tokenizer itself is left alone"
    again = CLIPTokenizer.from_pretrained(tmp_path)
    assert again("white teeth").input_ids == tokenizer("white teeth").input_ids
