"""Tooth numbers from probabilities: every FDI number can be told, and the loss pulls towards it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dentgen.conditions.labels import FDI_NUMBERS, IGNORE, mirror_fdi
from dentgen.evaluation.photos.tooth_numbers import (
    CHANNELS,
    mirrored_back,
    number_figures,
    number_loss,
    number_probabilities,
)


def sure(number: int) -> np.ndarray:
    """Logits (1, CHANNELS, 16, 16) of a network that is sure of a number, from the FDI scheme itself."""
    logits = np.full((1, CHANNELS, 16, 16), -9.0, np.float32)
    logits[:, number % 10 - 1] = 9
    quadrant = number // 10 if number < 50 else number // 10 - 4
    logits[:, 8] = 9 if quadrant in (1, 2) else -9
    logits[:, 9] = 9 if quadrant in (1, 4) else -9
    return logits


@pytest.mark.parametrize("number", sorted(FDI_NUMBERS))
def test_every_number_can_be_told(number: int) -> None:
    fdi = np.zeros((1, 16, 16), np.uint8)
    fdi[0, 4:12, 4:12] = number
    logits = torch.from_numpy(sure(number))
    figures = number_figures(number_probabilities(logits).numpy(), fdi)
    assert figures == {"number_accuracy": 1.0, "number_type_accuracy": 1.0}
    assert float(number_loss(logits, torch.from_numpy(fdi))) < 1e-3
    mirrored = int(mirror_fdi(fdi)[0].max())
    swapped = mirrored_back(number_probabilities(torch.from_numpy(sure(mirrored))))
    assert number_figures(swapped.numpy(), fdi)["number_accuracy"] == 1.0


def test_a_wrong_side_leaves_the_type_right() -> None:
    fdi = np.full((1, 16, 16), 16, np.uint8)
    figures = number_figures(number_probabilities(torch.from_numpy(sure(26))).numpy(), fdi)
    assert figures == {"number_accuracy": 0.0, "number_type_accuracy": 1.0}
    assert float(number_loss(torch.from_numpy(sure(26)), torch.from_numpy(fdi))) > 5


def test_what_has_no_number_teaches_nothing() -> None:
    logits = torch.zeros(1, CHANNELS, 8, 8, requires_grad=True)
    numbers = torch.tensor([0, IGNORE] * 32, dtype=torch.uint8).reshape(1, 8, 8)
    number_loss(logits, numbers).backward()
    assert logits.grad is not None
    assert not bool(logits.grad.any())
