"""Networks of the judges: the form of input and output."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dentgen.models.judge_networks import DilatedSegmenter, Segmenter, judge_input


def test_input_is_scaled_to_minus_one_and_one() -> None:
    pixels = np.zeros((1, 2, 4, 3), np.uint8)
    pixels[0, 1, 3] = (255, 51, 0)
    assert judge_input(pixels).shape == (1, 3, 2, 4)
    assert judge_input(pixels)[0, :, 1, 3].tolist() == pytest.approx([1, -0.6, -1])
    assert judge_input(pixels)[0, :, 0, 0].tolist() == [-1, -1, -1]


@pytest.mark.parametrize(("kind", "features"), [(Segmenter, 128), (DilatedSegmenter, 64)])
def test_logits_are_of_every_pixel_and_features_of_the_whole(
    kind: type[Segmenter | DilatedSegmenter], features: int
) -> None:
    images = torch.zeros(2, 3, 32, 48)
    network = kind(classes=5).eval()
    assert network(images).shape == (2, 5, 32, 48)
    assert network.features(images).shape == (2, features)
