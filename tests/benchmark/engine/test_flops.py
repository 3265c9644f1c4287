"""Counted operations against the layers' own arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dentgen.benchmark.engine.flops import count_networks
from dentgen.errors import SpecError
from dentgen.models.bundle import Bundle, load_bundle


def convolution_gflop(net: nn.Module, *inputs: torch.Tensor) -> float:
    """2 x inputs x outputs x kernel per output pixel, over every convolution that is called."""
    total = 0

    def count(layer: nn.Module, _: Any, output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d)
        per_pixel = layer.in_channels // layer.groups * layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
        total += 2 * per_pixel * output.shape[-1] * output.shape[-2]

    hooks = [layer.register_forward_hook(count) for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        net(*inputs)
    for hook in hooks:
        hook.remove()
    return total / 1e9


def test_a_convolutional_decoder_is_counted_by_hand() -> None:
    bundle = load_bundle("miniature", ["blended"], decoder="tiny")
    assert bundle.tiny_decoder is not None
    counted = count_networks(bundle, (64, 64), 77, int(bundle.text_encoder.config.hidden_size)).decode
    assert counted == pytest.approx(convolution_gflop(bundle.tiny_decoder.decoder, torch.zeros(1, 4, 8, 8)))


@pytest.mark.slow
def test_counts_scale_with_pixels_and_tokens(miniature: Bundle) -> None:
    # large enough that attention at the lower levels outweighs projections of text, which grow only twofold
    width = int(miniature.text_encoder.config.hidden_size)
    small, large = (count_networks(miniature, (size, size), tokens, width) for size, tokens in ((128, 77), (256, 154)))
    assert large.text == pytest.approx(2 * small.text)
    assert large.encode > 4 * small.encode, "convolutions grow fourfold, attention faster"
    assert large.unet > 4 * small.unet
    assert all(value > 0 for value in (small.unet, small.control, small.encode, small.decode, small.text))
    assert small.control < small.unet


def test_one_control_net_is_expected() -> None:
    bundle = load_bundle("miniature", ["segmentation", "lighting"])
    with pytest.raises(SpecError) as caught:
        count_networks(bundle, (64, 64), 77, 64)
    assert caught.value.key == "model.adapters"
    assert caught.value.found.startswith("2 ")
