"""What a process gives back to the system when an engine is gone.

Refuses to know what an engine is.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Final

import torch

_M_MMAP_THRESHOLD: Final = -3  # malloc.h
_OWN_MAPPING: Final = 128 * 2**10  # bytes; what glibc itself starts with, and raises to 32 MiB


def free_memory() -> None:
    """Give back what former engines held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if (trim := _of_glibc("malloc_trim")) is not None:
        trim(0)


def free_buffers_at_once() -> None:
    """From here on let every large buffer be a mapping of its own, which is gone from the process once it is freed.

    glibc would cut buffers of up to 32 MiB from its heap, and a heap shrinks at its end only: after a failed engine it
    kept 300 MiB of nothing, where oneDNN's code, which wants mappings, found no place for any number of slots. This
    holds for good and is slower, since every buffer's pages are new: it is for a process that will make no pictures.
    """
    if (set_option := _of_glibc("mallopt")) is not None:
        set_option(_M_MMAP_THRESHOLD, _OWN_MAPPING)


def _of_glibc(name: str) -> ctypes._NamedFuncPointer | None:
    """A function of the C library, None where it is another library than glibc."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
