"""The measuring machine: device, library versions, memory, and speed of matrix multiplication."""

from __future__ import annotations

import gc
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import torch

from dentgen.benchmark.engine.clock import seconds_of

_LIBRARIES: Final = ("torch", "diffusers", "transformers", "numpy")
#: Edge of the matrices: on a GPU that of published peaks, on a CPU a fifth of a second of work.
_EDGE: Final = {"cuda": 8192, "cpu": 1536}
_PRODUCTS: Final = 10


def describe_machine(device: torch.device) -> dict[str, str]:
    """Return device name and library versions."""
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else f"{platform.machine()} {_cpu()}"
    return {"device": name, "cuda": str(torch.version.cuda), **{library: _version(library) for library in _LIBRARIES}}


@torch.no_grad()
def matmul_tflops(device: torch.device, dtype: torch.dtype) -> float:
    """Measure TFLOP/s of a large matrix product, best of several; random data, because zeros draw less power."""
    edge = _EDGE[device.type]
    one, other = (torch.randn(edge, edge, device=device, dtype=dtype) for _ in range(2))
    products = _PRODUCTS if device.type == "cuda" else 1

    def multiply() -> None:
        for _ in range(products):
            torch.mm(one, other)

    multiply()
    seconds = min(seconds_of(multiply, device) for _ in range(7))
    return products * 2 * edge**3 / seconds / 1e12


def reset_memory(device: torch.device) -> None:
    """Release unused memory and reset the peak counter."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_gib(device: torch.device) -> float | None:
    """Return the peak memory of tensors since ``reset_memory``; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def _cpu() -> str:
    return str(torch.backends.cpu.get_cpu_capability())
