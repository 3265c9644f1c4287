"""Judges: small networks that look at pictures: segmenters (which tissue is where), a detector (generated or not).

The second segmenter is built unlike the first, so that a figure on which both agree is not one network's habit. Refuses
to know where pictures and labels come from; the caller decides what a judge may see.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from dentgen.conditions.labels import IGNORE
from dentgen.seeding import fresh_weights, numpy_generator

_Network = TypeVar("_Network", bound=nn.Module)


def _block(inputs: int, outputs: int) -> nn.Sequential:
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
        self.down = nn.ModuleList([_block(3, widths[0]), *(_block(a, b) for a, b in pairwise(widths))])
        self.up = nn.ModuleList([_block(a + b, a) for a, b in pairwise(widths)])
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
        """(b, 3, H, W) in [-1, 1] to what the deepest level holds, pooled, (b, 128)."""
        return _pooled(self._skips(images)[-1])

    def _skips(self, images: Tensor) -> list[Tensor]:
        skips = []
        x = images
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        return skips


class DilatedSegmenter(nn.Module):
    """Dilated residual convolutions at half size (Yu and Koltun 2016) of about 0.06 M parameters.

    No pooling, no skips: each block looks farther, the mean over the picture is told to every place (as in Chen et al.
    2017), and pixels are shuffled back to full size.
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
        """(b, 3, H, W) in [-1, 1] to what the last block holds, pooled, (b, 64)."""
        return _pooled(self._body(images))

    def _body(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for block in self.blocks:
            x = x + block(x)
        return x + self.context(x.mean((2, 3)))[:, :, None, None]


#: How far apart the pixels are that a block looks at; together they see 116 pixels of the picture.
_RATES: Final = (1, 2, 4, 8, 12, 1)


def _dilated(width: int, rate: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=rate, dilation=rate), nn.GroupNorm(8, width), nn.ReLU(),
        nn.Conv2d(width, width, 1),
    )  # fmt: skip


def _pooled(x: Tensor) -> Tensor:
    """Mean and standard deviation over the picture."""
    return torch.cat([x.mean((2, 3)), x.std((2, 3))], 1)


class Detector(nn.Module):
    """A small convolutional classifier: generated or reference."""

    def __init__(self, width: int = 16) -> None:
        """``width`` channels at full size."""
        super().__init__()
        self.body = nn.Sequential(
            _block(3, width), nn.MaxPool2d(2), _block(width, 2 * width), nn.MaxPool2d(2),
            _block(2 * width, 4 * width), nn.MaxPool2d(2), _block(4 * width, 4 * width),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 2),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """(b, 3, H, W) in [-1, 1] to logits (b, 2)."""
        logits: Tensor = self.body(images)
        return logits


def train_judge(
    judge: Callable[[], _Network],
    images: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    *,
    steps: int,
    seed: int,
    name: str,
    batch: int = 8,
) -> _Network:
    """Train a judge by cross-entropy on pictures (n, H, W, 3) and truth, (n, H, W) or (n,); mirrored at random.

    Pixels whose truth is ``IGNORE`` teach nothing.
    """
    with fresh_weights(seed, "judge", name):
        network = settled(judge())
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for step in tqdm(range(steps), desc=f"judge: {name}", mininterval=10):
        rng = numpy_generator(seed, "judge", name, step)
        index = rng.integers(len(images), size=batch)
        picture, label = images[index], truth[index]
        if rng.random() < 0.5:
            picture = picture[:, :, ::-1]
            label = label[..., ::-1] if label.ndim == 3 else label
        logits = network(judge_input(picture))
        loss = F.cross_entropy(logits, torch.from_numpy(label.astype(np.int64)), ignore_index=IGNORE)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def settled(network: _Network) -> _Network:
    """The network in the memory format that its convolutions are fastest in."""
    nn.Module.to(network, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


@torch.no_grad()
def judge_features(judge: Segmenter | DilatedSegmenter, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What a segmenter sees in whole pictures, (n, features)."""
    found = [judge.features(judge_input(images[i : i + 16])) for i in range(0, len(images), 16)]
    return torch.cat(found).double().numpy()


@torch.no_grad()
def judge_labels(judge: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Most likely class per pixel (n, H, W) or per picture (n,)."""
    found = [judge(judge_input(images[i : i + 16])).argmax(1).to(torch.uint8) for i in range(0, len(images), 16)]
    return torch.cat(found).numpy()


def judge_input(images: NDArray[np.uint8]) -> Tensor:
    """(b, H, W, 3) uint8 to (b, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1  # stays channels last
