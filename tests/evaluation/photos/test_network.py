"""The network: its encoder is the published one, what is pretrained stays frozen."""

from __future__ import annotations

import pytest
import torch

from dentgen.evaluation.photos.network import NUMBERS, PhotoNetwork
from dentgen.evaluation.photos.tooth_numbers import CHANNELS
from dentgen.seeding import fresh_weights


@pytest.fixture(scope="module")
def network() -> PhotoNetwork:
    with fresh_weights(0, "test"):
        return PhotoNetwork("pretrained").train()


def test_shapes_and_frozen_parts(network: PhotoNetwork) -> None:
    assert network(torch.rand(2, 3, 64, 32)).shape == (2, NUMBERS + CHANNELS, 64, 32)
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert any("_conv_stem" in name for name in frozen)
    assert any("_blocks.2." in name for name in frozen)
    assert not any("_blocks.5._depthwise_conv" in name for name in frozen)
    assert not network.encoder.training
    before = network.encoder.network._bn0.running_mean.clone()
    network(torch.rand(2, 3, 32, 32))
    assert torch.equal(before, network.encoder.network._bn0.running_mean)


def test_from_scratch_everything_learns() -> None:
    with fresh_weights(0, "test"):
        network = PhotoNetwork("scratch").train()
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert network.encoder.training
