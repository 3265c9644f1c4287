"""Returning memory to the system after an engine is gone."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Final

import torch

_M_MMAP_THRESHOLD: Final = -3  # malloc.h
_OWN_MAPPING: Final = 128 * 2**10  # bytes; what glibc itself starts with, and raises to 32 MiB


def free_memory() -> None:
    """Release what former engines held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if (trim := _glibc_function("malloc_trim")) is not None:
        trim(0)


def free_buffers_at_once() -> None:
    """Make every large buffer from now on a mapping of its own, which the process loses once it is freed.

    glibc cuts buffers of up to 32 MiB from its heap, which shrinks only at its end: after a failed engine 300 MiB
    stayed in the heap, where oneDNN, whose code needs mappings, found no room for any number of slots. The setting is
    permanent and slow, because every buffer gets new pages: for processes that only look for a number that fits.
    """
    if (set_option := _glibc_function("mallopt")) is not None:
        set_option(_M_MMAP_THRESHOLD, _OWN_MAPPING)


def _glibc_function(name: str) -> ctypes._NamedFuncPointer | None:
    """A function of the C library, None if it is not glibc."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
