"""FDI tooth numbers as a network tells them: the type, the jaw and the patient's side of every tooth pixel."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dentgen.conditions.labels import FDI_NUMBERS, RIGHT_QUADRANTS, UPPER_QUADRANTS

#: Types of teeth, from the middle of the arch: the second digit of an FDI number.
TYPES: Final = 8
#: Channels: one per type, the upper jaw, the patient's right side.
CHANNELS: Final = TYPES + 2
_UPPER, _RIGHT = TYPES, TYPES + 1
_LOWEST, _HIGHEST = min(FDI_NUMBERS), max(FDI_NUMBERS)
#: Smallest tooth that is asked for, as a share of the picture.
_SMALLEST_TOOTH: Final = 5e-4


def number_loss(logits: Tensor, numbers: Tensor) -> Tensor:
    """Cross-entropies of type, jaw and side, the mean over pixels with a tooth number.

    Args:
        logits: (b, CHANNELS, H, W).
        numbers: (b, H, W) uint8 FDI numbers; every other value is unknown.
    """
    known = (numbers >= _LOWEST) & (numbers <= _HIGHEST)
    if not bool(known.any()):
        return logits.sum() * 0
    told = logits.movedim(1, -1)[known]
    quadrant, kind = numbers[known].long() // 10, numbers[known].long() % 10
    upper, right = (_is_one_of(quadrant, those).to(told.dtype) for those in (UPPER_QUADRANTS, RIGHT_QUADRANTS))
    loss = F.cross_entropy(told[:, :TYPES], kind - 1)
    for channel, truth in ((_UPPER, upper), (_RIGHT, right)):
        loss = loss + F.binary_cross_entropy_with_logits(told[:, channel], truth)
    return loss


def number_probabilities(logits: Tensor) -> Tensor:
    """Probabilities (b, CHANNELS, H, W) from logits of the same shape."""
    return torch.cat([logits[:, :TYPES].softmax(1), logits[:, TYPES:].sigmoid()], 1)


def mirrored_back(probabilities: Tensor) -> Tensor:
    """Probabilities of mirrored images, as those of the images themselves: right and left exchanged."""
    flipped = probabilities.flip(-1)
    return torch.cat([flipped[:, :_RIGHT], 1 - flipped[:, _RIGHT:]], 1)


def number_figures(probabilities: NDArray[np.float32], fdi: NDArray[np.uint8]) -> dict[str, float]:
    """Share of teeth whose number is told rightly, each asked over all of its own pixels.

    Args:
        probabilities: (n, CHANNELS, S, S).
        fdi: (n, S, S) true FDI numbers, 0 for none.

    Returns:
        ``number_accuracy`` of the whole number, ``number_type_accuracy`` of its second digit.
    """
    told, true = [], []
    for each, numbers in zip(probabilities, fdi, strict=True):
        for number in sorted(FDI_NUMBERS & set(np.unique(numbers).tolist())):
            pixels = numbers == number
            if pixels.sum() >= _SMALLEST_TOOTH * pixels.size:
                told.append(_told(each[:, pixels].mean(1), is_permanent=number < 50))
                true.append(number)
    found, wanted = np.array(told), np.array(true)
    return {
        "number_accuracy": float((found == wanted).mean()) if true else 0.0,
        "number_type_accuracy": float((found % 10 == wanted % 10).mean()) if true else 0.0,
    }


def _told(mean: NDArray[np.float32], *, is_permanent: bool) -> int:
    """The number with the largest mean probabilities; whether teeth are permanent is known."""
    upper, right = mean[_UPPER] > 0.5, mean[_RIGHT] > 0.5
    quadrant = (1 if right else 2) if upper else (4 if right else 3)
    return (quadrant if is_permanent else quadrant + 4) * 10 + int(mean[:TYPES].argmax()) + 1


def _is_one_of(values: Tensor, those: tuple[int, ...]) -> Tensor:
    return torch.isin(values, torch.tensor(those))
