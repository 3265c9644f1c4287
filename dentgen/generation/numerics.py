"""A numerics canary: digests of fixed computations, equal in processes whose kernels round alike.

Two machines with the same libraries may still dispatch to different kernels (MKL and oneDNN choose by processor and by
environment variables); a build that mixes them would mix two datasets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from dentgen.errors import is_device_fault
from dentgen.generation.threads import torch_threads

_DIGITS: Final = 16


@lru_cache(maxsize=8)
def numerics_canary(device: str, dtype: str, threads: int) -> tuple[tuple[str, str], ...]:
    """Names and digests of a matmul, an attention, a convolution and a small decode.

    Args:
        device: "cpu" or "cuda".
        dtype: Precision of the networks, such as "float32".
        threads: CPU threads, which decide how sums are divided.
    """
    kind = getattr(torch, dtype)
    with torch_threads(threads), torch.no_grad():
        return tuple((name, _result(work, torch.device(device), kind)) for name, work in _CANARIES.items())


def _values(device: torch.device, dtype: torch.dtype, *shape: int) -> Tensor:
    """Fixed values between -1 and 1 without a pattern, from no generator whose stream a library could change."""
    count = torch.Size(shape).numel()
    mixed = (torch.arange(1, count + 1, dtype=torch.int64) * 2654435761) % 2**32
    return (mixed.double() / 2**31 - 1).view(shape).to(device, dtype)


def _matmul(device: torch.device, dtype: torch.dtype) -> Tensor:
    return F.linear(_values(device, dtype, 77, 320), _values(device, dtype, 640, 320))


def _attention(device: torch.device, dtype: torch.dtype) -> Tensor:
    query, key = _values(device, dtype, 2, 8, 64, 40), _values(device, dtype, 2, 8, 77, 40)
    return F.scaled_dot_product_attention(query, key, key.flip(-1))


def _convolution(device: torch.device, dtype: torch.dtype) -> Tensor:
    image = _values(device, dtype, 2, 128, 16, 16).contiguous(memory_format=torch.channels_last)
    wide = F.conv2d(image, _values(device, dtype, 128, 128, 3, 3), padding=1)
    return F.conv2d(wide, _values(device, dtype, 64, 128, 1, 1))


def _decode(device: torch.device, dtype: torch.dtype) -> Tensor:
    """What a decoder's block does: convolution, group norm, SiLU, upsampling, convolution."""
    hidden = F.conv2d(_values(device, dtype, 1, 4, 8, 8), _values(device, dtype, 32, 4, 3, 3), padding=1)
    hidden = F.silu(F.group_norm(hidden, 8))
    return F.conv2d(F.interpolate(hidden, scale_factor=2.0), _values(device, dtype, 3, 32, 3, 3), padding=1)


def _result(work: Callable[[torch.device, torch.dtype], Tensor], device: torch.device, dtype: torch.dtype) -> str:
    """Digest of a computation; a kernel that is missing here distinguishes machines as well."""
    try:
        values = work(device, dtype)
    except RuntimeError as error:
        if is_device_fault(error):
            raise
        return "fails"
    content = values.contiguous().view(torch.uint8).cpu().numpy().tobytes()
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


_CANARIES: Final[dict[str, Callable[[torch.device, torch.dtype], Tensor]]] = {
    "matmul": _matmul, "attention": _attention, "convolution": _convolution, "decode": _decode,
}  # fmt: skip
