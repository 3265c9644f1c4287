"""Frozen networks: unseen by their recipe, latents cached one by one, sizes and prompts checked."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn

from dentgen.errors import SpecError
from dentgen.models.bundle import find_bundle
from dentgen.models.native_size import native_size
from dentgen.models.parts import load_tokenizer
from dentgen.spec.train import TRAIN_SPEC
from dentgen.training.frozen_networks import (
    FrozenAutoencoder,
    FrozenText,
    Unregistered,
    check_size,
    control_tensor,
    freeze,
    frozen_unet,
    image_tensor,
    token_ids,
)
from tests.training.runs import CPU, train_spec, training_data

MINIATURE = str(find_bundle("miniature"))


class Owner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Linear(2, 2)
        self.held = Unregistered(nn.Linear(3, 3))


def test_a_held_network_is_no_part_of_its_holder() -> None:
    owner = Owner()
    assert [name for name, _ in owner.named_parameters()] == ["own.weight", "own.bias"]
    owner.held.net.train()
    owner.eval()
    assert owner.held.net.training
    assert "held" not in "".join(owner.state_dict())


def test_a_frozen_network_neither_trains_nor_drops() -> None:
    net = freeze(nn.Sequential(nn.Linear(2, 2), nn.Dropout()), CPU)
    assert not net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.integration
def test_latents_are_those_of_diffusers(phantoms: str, tmp_path: Path) -> None:
    spec = train_spec(phantoms, tmp_path, "adapter", bundle=MINIATURE, conditions={"size": 128}, cache_latents=False)
    batch = training_data(spec).batch(0, 0, 2)
    frozen = FrozenAutoencoder(spec, CPU)
    vae = AutoencoderKL.from_pretrained(Path(MINIATURE) / "vae", torch_dtype=torch.float32)
    pixels = torch.from_numpy(batch.photos).permute(0, 3, 1, 2) / 127.5 - 1
    expected = vae.encode(pixels).latent_dist.mode() * vae.config["scaling_factor"]
    torch.testing.assert_close(frozen.pictures(batch), expected, rtol=1e-4, atol=1e-4)
    control = np.stack([row.control("normal") for row in batch.rows])
    expected = vae.encode(torch.from_numpy(control).permute(0, 3, 1, 2) / 255).latent_dist.mode()
    found = frozen.controls(batch.rows, ["normal", "normal"])
    torch.testing.assert_close(found, expected * vae.config["scaling_factor"], rtol=1e-4, atol=1e-4)
    decoded = vae.decode(found / vae.config["scaling_factor"]).sample
    torch.testing.assert_close(frozen.decode(found), decoded, rtol=1e-4, atol=1e-4)


def test_cached_latents_do_not_depend_on_the_batch(phantoms: str, tmp_path: Path) -> None:
    spec = train_spec(phantoms, tmp_path, "adapter", bundle=MINIATURE, batch=4)
    batch = training_data(spec).batch(0, 0, 4)
    together = FrozenAutoencoder(spec, CPU).pictures(batch)
    alone = FrozenAutoencoder(spec, CPU)
    for number in range(4):
        one = type(batch)(0, number, batch.rows[number : number + 1])
        assert torch.equal(alone.pictures(one)[0], together[number])


def test_a_row_is_encoded_once(phantoms: str, tmp_path: Path) -> None:
    spec = train_spec(phantoms, tmp_path, "adapter", bundle=MINIATURE)
    frozen, batch = FrozenAutoencoder(spec, CPU), training_data(spec).batch(0, 0, 2)
    first = frozen.pictures(batch)
    nn.init.zeros_(frozen.vae.encoder.conv_in.weight)
    assert torch.equal(frozen.pictures(batch), first)
    assert not torch.equal(frozen.controls(batch.rows, ["normal"] * 2), first), "another image of the same row"


def test_an_image_size_that_is_not_the_unets_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    native = native_size(find_bundle(MINIATURE))
    for size in (64, native):
        with caplog.at_level(logging.WARNING):
            frozen_unet(train_spec("nowhere", tmp_path, "adapter", bundle=MINIATURE, conditions={"size": size}), CPU)
    assert [record.args for record in caplog.records] == [(64, MINIATURE, native)]


def test_a_default_image_size_that_is_not_the_unets_is_refused(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(MINIATURE, tmp_path / "bundle"))
    config = bundle / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "sample_size": 64}))
    values = {"recipe": "adapter", "bundle": str(bundle), "checkpoints": "nowhere"}
    with pytest.raises(SpecError) as caught:
        frozen_unet(TRAIN_SPEC.validate_python(values), CPU)
    assert (caught.value.key, caught.value.expected) == ("conditions.size", f"512, as the UNet of {bundle}")
    config.write_text("{}")
    check_size(TRAIN_SPEC.validate_python(values), str(bundle))  # loading says what is wrong


def test_prompts_are_embedded_alike_in_any_company(tmp_path: Path) -> None:
    text = FrozenText(train_spec("nowhere", tmp_path, "adapter", bundle=MINIATURE), CPU)
    both = text(["white teeth", ""])
    assert both.shape == (2, 77, 128)
    torch.testing.assert_close(text(["white teeth"])[0], both[0])
    assert not both.requires_grad


def test_truncated_prompts_are_named() -> None:
    tokenizer = load_tokenizer(Path(MINIATURE) / "tokenizer")
    with pytest.warns(UserWarning, match="78 tokens.*77: 'teeth teeth") as caught:
        ids = token_ids(tokenizer, ["teeth " * 75, "teeth " * 76])
    assert len([w for w in caught if w.category is UserWarning]) == 1, "75 words, start and end fill one window"
    assert ids.shape == (2, 77)


def test_pixels_reach_the_ends_of_their_range() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 1] = 255
    for tensor, low in ((image_tensor(image), -1.0), (control_tensor(image), 0.0)):
        assert tensor.shape == (3, 2, 3)
        assert (float(tensor[0, 0, 1]), float(tensor[0, 1, 1])) == (1.0, low)
