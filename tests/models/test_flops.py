"""Operations of a convolution and of attention, counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dentgen.models.flops import gflop


def test_a_convolution_costs_two_operations_for_every_product() -> None:
    convolution = nn.Conv2d(3, 5, kernel_size=3, padding=1, stride=2)
    by_hand = 2 * (5 * 8 * 8) * (3 * 3 * 3)
    assert gflop(lambda: convolution(torch.zeros(1, 3, 16, 16))) == pytest.approx(by_hand / 1e9, rel=1e-12)


def test_attention_is_counted() -> None:
    query, key = torch.zeros(1, 2, 7, 4), torch.zeros(1, 2, 9, 4)
    by_hand = 2 * (2 * 7 * 9 * 4) * 2  # scores and their mean of the values, of two heads
    assert gflop(lambda: F.scaled_dot_product_attention(query, key, key)) == pytest.approx(by_hand / 1e9, rel=1e-12)
