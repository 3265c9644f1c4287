"""Terms of the reward loss as functions of tensors, one value per row, and the judged agreement that is logged."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from dentgen.conditions.labels import IGNORE
from dentgen.quality.metrics import set_miou
from dentgen.training.losses import linear_luminance

#: Keeps the correlation of even surfaces finite.
_LEAST_SPREAD: Final = 1e-4


def cross_entropy(
    logits: Float[Tensor, "n c H W"], labels: UInt8[Tensor, "n H W"]
) -> Float[Tensor, "n H W"]:  # fmt: skip
    """Cross-entropy of each pixel, 0 where the label is ``IGNORE``."""
    return F.cross_entropy(logits, labels.long(), ignore_index=IGNORE, reduction="none")


def row_means(values: Float[Tensor, "n H W"], labels: UInt8[Tensor, "n H W"]) -> Float[Tensor, " n"]:
    """Mean of each row over pixels whose label is not ``IGNORE``; 0 for a row without any."""
    known = labels != IGNORE
    return (values * known).sum((1, 2)) / known.sum((1, 2)).clamp_min(1)


def divergence(logits: Float[Tensor, "n c H W"], other: Float[Tensor, "n c H W"]) -> Float[Tensor, "n H W"]:
    """Kullback-Leibler divergence of each pixel's class probabilities from those of another judgement."""
    log_p, log_q = logits.log_softmax(1), other.log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1)


def rectified(error: Tensor, uncertainty: Tensor) -> Tensor:
    """Error that counts less where the judge is uncertain, plus the uncertainty: error exp(-u) + u.

    Zhang et al. 2025 (Ctrl-U, https://arxiv.org/abs/2410.11236), eq. 3 with a regularisation weight of 1. Their two
    pictures have different timesteps; here they share theirs and differ in the noise.
    """
    return error * (-uncertainty).exp() + uncertainty


def lighting_error(
    pictures: Float[Tensor, "n 3 H W"], lighting: UInt8[Tensor, "n H W"], inside: Bool[Tensor, "n H W"]
) -> Float[Tensor, " n"]:
    """1 - Pearson correlation of linear luminance and lighting, 0..2.

    Args:
        pictures: In [-1, 1].
        lighting: 0..255.
        inside: Pixels to compare, such as teeth.

    Returns:
        One value per row; 0 for a row with fewer than two pixels inside or with constant lighting there.
    """
    luminance = linear_luminance(((pictures + 1) / 2).clamp(0, 1))[:, 0]
    count = inside.sum((1, 2), keepdim=True).clamp_min(1)
    x, y = (
        torch.where(inside, values - (values * inside).sum((1, 2), keepdim=True) / count, 0.0)
        for values in (luminance, lighting.float() / 255)
    )
    spread_x, spread_y = ((values.square().sum((1, 2)) / count[:, 0, 0]).add(1e-12).sqrt() for values in (x, y))
    covariance = (x * y).sum((1, 2)) / count[:, 0, 0]
    correlation = covariance / (spread_x.clamp_min(_LEAST_SPREAD) * spread_y.clamp_min(_LEAST_SPREAD))
    known = (inside.sum((1, 2)) > 1) & (spread_y > _LEAST_SPREAD)
    return torch.where(known, 1 - correlation, 0.0)


def judged_miou(logits: Float[Tensor, "n c H W"], labels: UInt8[Tensor, "n H W"]) -> Float[Tensor, " n"]:
    """Mean IoU of what a judge sees and the labels, one value per row; 0 for a row of ``IGNORE`` alone."""
    seen, truth = logits.argmax(1).to(torch.uint8).cpu().numpy(), labels.cpu().numpy()
    rows = [
        set_miou(one, other, logits.shape[1]) if (other != IGNORE).any() else 0.0
        for one, other in zip(seen, truth, strict=True)
    ]
    return torch.tensor(rows, dtype=torch.float32, device=logits.device)
