"""Floating-point operations of networks, counted by torch while they run.

A multiply-add counts as two. Attention runs unfused, because torch does not count every fused kernel.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def gflop(call: Callable[[], object]) -> float:
    """Count the GFLOP of everything that a call runs on this thread."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 1e9
