"""Training and prediction of the study's networks, alike for all sets of images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dentgen.conditions.labels import IGNORE
from dentgen.evaluation.photos.augmentation import augmented
from dentgen.evaluation.photos.labelled_images import LabelledImages
from dentgen.evaluation.photos.network import NUMBERS, Encoder, PhotoNetwork
from dentgen.evaluation.photos.tooth_numbers import mirrored_back, number_loss, number_probabilities
from dentgen.progress import tracked
from dentgen.seeding import fresh_weights, numpy_generator

#: Weights of the losses of tooth, border and lesion, and of pixels that are one: borders and lesions are rare.
_LOSS_WEIGHTS = (1.0, 0.5, 0.5)
_PIXEL_WEIGHTS = (1.0, 8.0, 10.0)
_NUMBER_WEIGHT = 0.2


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How long and on what every network trains.

    Attributes:
        steps: Training steps.
        batch: Images per step; of two sets, half from each.
        encoder: Pretrained on ImageNet, or from scratch.
        rate: Largest learning rate of the one-cycle schedule.
    """

    steps: int = 600
    batch: int = 16
    encoder: Encoder = "pretrained"
    rate: float = 2e-3


def train_network(sets: list[LabelledImages], settings: TrainingSettings, seed: int, name: str) -> PhotoNetwork:
    """Train a network; equal arguments give equal weights on one machine.

    Args:
        sets: One or two sets of images, which share every batch alike.
        settings: Length and size.
        seed: Seed of weights, batches and augmentation.
        name: Shown with the progress.
    """
    with fresh_weights(seed, "photos"):
        network = PhotoNetwork(settings.encoder).train()
    # channels_last saves a quarter of the time on CPUs
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=settings.rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, total_steps=settings.steps)
    borders = [images.borders() for images in sets]
    for step in tracked(range(settings.steps), name, "step"):
        rng = numpy_generator(seed, "photos", step)
        images, labels = _batch(sets, borders, settings.batch, rng)
        loss = _loss(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def predict(network: PhotoNetwork, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities (n, channels, S, S) by ``network``'s channels, the mean of every image and its mirror image."""
    found = []
    for start in range(0, len(images), 16):
        batch = _tensor(images[start : start + 16])
        there, mirrored = network(batch), network(batch.flip(-1))
        maps = torch.sigmoid(there[:, :NUMBERS]) + torch.sigmoid(mirrored[:, :NUMBERS]).flip(-1)
        numbers = number_probabilities(there[:, NUMBERS:]) + mirrored_back(number_probabilities(mirrored[:, NUMBERS:]))
        found.append((torch.cat([maps, numbers], 1) / 2).numpy())
    return np.concatenate(found)


def _batch(
    sets: list[LabelledImages], borders: list[NDArray[np.uint8]], count: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    images, labels = [], []
    for part, border in zip(sets, borders, strict=True):
        index = rng.integers(len(part), size=count // len(sets))
        images.append(part.images[index])
        labels.append(np.stack([part.tooth[index], border[index], part.lesion[index], part.numbers[index]], 1))
    return augmented(_tensor(np.concatenate(images)), torch.from_numpy(np.concatenate(labels)), rng)


def _tensor(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float() / 255


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of all maps and of tooth numbers, and the Dice loss of teeth, over annotated pixels."""
    numbers = _NUMBER_WEIGHT * number_loss(logits[:, NUMBERS:], labels[:, -1])
    logits, labels = logits[:, :NUMBERS], labels[:, :-1]
    known = (labels != IGNORE).float()
    truth = (labels == 1).float()
    weight = logits.new_tensor(_PIXEL_WEIGHTS)[:, None, None]
    each = F.binary_cross_entropy_with_logits(logits, truth, pos_weight=weight, reduction="none") * known
    mean = each.sum((0, 2, 3)) / known.sum((0, 2, 3)).clamp_min(1)
    share = torch.sigmoid(logits[:, 0]) * known[:, 0]
    overlap = (2 * (share * truth[:, 0]).sum() + 1) / (share.sum() + truth[:, 0].sum() + 1)
    return (mean * logits.new_tensor(_LOSS_WEIGHTS)).sum() + 0.5 * (1 - overlap) + numbers
