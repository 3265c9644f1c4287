"""Images and labels move together, and labels keep their values."""

from __future__ import annotations

import numpy as np
import torch

from dentgen.conditions.labels import IGNORE
from dentgen.evaluation.photos.augmentation import augmented


def test_labels_follow_their_images() -> None:
    images, labels = torch.zeros(8, 3, 64, 64), torch.zeros(8, 2, 64, 64, dtype=torch.uint8)
    images[:, :, 20:44, 26:38] = 1.0
    labels[:, 0, 20:44, 26:38] = 1
    labels[:, 1] = IGNORE
    found, moved = augmented(images, labels, np.random.default_rng(0))
    assert moved.dtype == torch.uint8
    assert set(torch.unique(moved).tolist()) <= {0, 1, IGNORE}
    assert (moved[:, 1] == IGNORE).all()
    bright = found.mean(1) > 0.5 * found.amax((1, 2, 3), keepdim=False)[:, None, None]
    inside = moved[:, 0] == 1
    agreement = ((bright & inside).sum((1, 2)) / (bright | inside).sum((1, 2))).min()
    assert agreement > 0.8
    assert not (moved[:, 0] == labels[:, 0]).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_the_generator_decides() -> None:
    images, labels = torch.rand(2, 3, 32, 32), torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    first, again, other = (augmented(images, labels, np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_mirrored_teeth_change_sides() -> None:
    images, labels = torch.zeros(24, 3, 64, 64), torch.zeros(24, 1, 64, 64, dtype=torch.uint8)
    images[:, :, 24:40, 36:48] = 1.0  # on the right of the picture
    labels[:, 0, 24:40, 36:48] = 23
    found, moved = augmented(images, labels, np.random.default_rng(3))
    columns = torch.arange(64.0)
    sides = set()
    for image, numbers in zip(found, moved[:, 0], strict=True):
        (number,) = set(torch.unique(numbers).tolist()) - {0, IGNORE}
        centre = float((image.mean((0, 1)) * columns).sum() / image.mean((0, 1)).sum())
        sides.add((number, centre > 32))
    assert sides == {(23, True), (13, False)}
