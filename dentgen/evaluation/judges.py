"""Judges that are trained for one evaluation: segmenters on its reference images, a detector of generated ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dentgen.conditions.labels import IGNORE
from dentgen.models.judge_networks import DilatedSegmenter, Segmenter, conv_block, judge_input, to_channels_last
from dentgen.progress import tracked
from dentgen.quality.photometric import in_other_light
from dentgen.seeding import fresh_weights, numpy_generator

_Network = TypeVar("_Network", bound=nn.Module)


class Detector(nn.Module):
    """A small convolutional classifier of two kinds of images."""

    def __init__(self, width: int = 16) -> None:
        """``width`` channels at full size."""
        super().__init__()
        self.body = nn.Sequential(
            conv_block(3, width), nn.MaxPool2d(2), conv_block(width, 2 * width), nn.MaxPool2d(2),
            conv_block(2 * width, 4 * width), nn.MaxPool2d(2), conv_block(4 * width, 4 * width),
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
    photometric: bool = False,
) -> _Network:
    """Train a judge by cross-entropy, with random horizontal flips.

    Args:
        judge: Constructor of the network.
        images: (n, H, W, 3) uint8.
        truth: Classes, (n, H, W) per pixel or (n,) per image; ``IGNORE`` pixels do not contribute.
        steps: Training steps.
        seed: Seed of weights and batches.
        name: Shown with the progress; together with ``seed`` it decides weights and batches.
        batch: Images per step.
        photometric: Show every image in other light, out of focus or with noise, so that the judge reads what is
            there and not whether a model has the light of its images.

    Returns:
        The network in evaluation mode; the same arguments give the same weights on one machine.
    """
    with fresh_weights(seed, "judge", name):
        network = to_channels_last(judge())
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for step in tracked(range(steps), f"judge {name}", "step"):
        rng = numpy_generator(seed, "judge", name, step)
        index = rng.integers(len(images), size=batch)
        inputs, labels = images[index], truth[index]
        if rng.random() < 0.5:
            inputs = inputs[:, :, ::-1]
            labels = labels[..., ::-1] if labels.ndim == 3 else labels
        if photometric:
            inputs = np.stack([in_other_light(image, rng) for image in inputs])
        logits = network(judge_input(inputs))
        loss = F.cross_entropy(logits, torch.from_numpy(labels.astype(np.int64)), ignore_index=IGNORE)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def judge_features(judge: Segmenter | DilatedSegmenter, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute a segmenter's pooled features of (n, H, W, 3) uint8 images, (n, features) float64."""
    batches = [judge.features(judge_input(images[i : i + 16])) for i in range(0, len(images), 16)]
    return torch.cat(batches).double().numpy()


@torch.no_grad()
def judge_labels(judge: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Predict the most likely class of (n, H, W, 3) uint8 images, per pixel (n, H, W) or per image (n,)."""
    batches = [judge(judge_input(images[i : i + 16])).argmax(1).to(torch.uint8) for i in range(0, len(images), 16)]
    return torch.cat(batches).numpy()
