"""Networks of the judges: two small segmenters that differ in architecture, and the form of their input.

They differ so that a figure on which both agree is not an artefact of one of them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

_Network = TypeVar("_Network", bound=nn.Module)


def conv_block(inputs: int, outputs: int) -> nn.Sequential:
    """Two normalised convolutions of 3 x 3, from ``inputs`` to ``outputs`` channels."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.ReLU(),
    )  # fmt: skip


class Segmenter(nn.Module):
    """A three-level U-Net (Ronneberger et al. 2015) of about 0.3 M parameters."""

    def __init__(self, classes: int = 3, width: int = 16) -> None:
        """``classes`` output channels."""
        super().__init__()
        widths = (width, 2 * width, 4 * width, 4 * width)
        self.down = nn.ModuleList([conv_block(3, widths[0]), *(conv_block(a, b) for a, b in pairwise(widths))])
        self.up = nn.ModuleList([conv_block(a + b, a) for a, b in pairwise(widths)])
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(b, 3, H, W) in [-1, 1] to logits (b, classes, H, W)."""
        skips = self._skips(images)
        x = skips[-1]
        for level in reversed(range(len(self.up))):
            x = self.up[level](torch.cat([skips[level], F.interpolate(x, scale_factor=2, mode="nearest")], 1))
        logits: Tensor = self.head(x)
        return logits

    def features(self, images: Tensor) -> Tensor:
        """(b, 3, H, W) in [-1, 1] to pooled activations of the deepest level, (b, 128)."""
        return _pooled(self._skips(images)[-1])

    def _skips(self, images: Tensor) -> list[Tensor]:
        skips = []
        x = images
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        return skips


class DilatedSegmenter(nn.Module):
    """Dilated residual convolutions at half size (Yu and Koltun 2016) of about 0.07 M parameters.

    No pooling and no skip connections: the receptive field grows with the dilation rate, the image's mean activation is
    added at every position (as in Chen et al. 2017), and a pixel shuffle restores full size.
    """

    def __init__(self, classes: int = 3, width: int = 32) -> None:
        """``classes`` output channels."""
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, stride=2, padding=1)
        self.blocks = nn.ModuleList([_dilated(width, rate) for rate in _RATES])
        self.context = nn.Linear(width, width)
        self.head = nn.Conv2d(width, 4 * classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(b, 3, H, W) in [-1, 1] to logits (b, classes, H, W)."""
        return F.pixel_shuffle(self.head(self._body(images)), 2)

    def features(self, images: Tensor) -> Tensor:
        """(b, 3, H, W) in [-1, 1] to pooled activations of the last block, (b, 64)."""
        return _pooled(self._body(images))

    def _body(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for block in self.blocks:
            x = x + block(x)
        return x + self.context(x.mean((2, 3)))[:, :, None, None]


#: Dilation rates of the blocks; their joint receptive field is 116 pixels of the image.
_RATES: Final = (1, 2, 4, 8, 12, 1)


def _dilated(width: int, rate: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=rate, dilation=rate), nn.GroupNorm(8, width), nn.ReLU(),
        nn.Conv2d(width, width, 1),
    )  # fmt: skip


def _pooled(x: Tensor) -> Tensor:
    """Mean and standard deviation over all positions."""
    return torch.cat([x.mean((2, 3)), x.std((2, 3))], 1)


def to_channels_last(network: _Network) -> _Network:
    """Convert a network to channels-last, the memory format in which its convolutions are fastest on a CPU."""
    nn.Module.to(network, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def judge_input(images: NDArray[np.uint8]) -> Tensor:
    """Convert (b, H, W, 3) uint8 to (b, 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1  # still channels-last in memory
