"""Measurement of how many engine slots pay on this machine; the number decides bytes, so the spec has to name it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch

from dentgen.diffusion.engine import DiffusionEngine
from dentgen.errors import OutOfMemoryError
from dentgen.generation.engines import build_engine
from dentgen.generation.generator import Generator
from dentgen.generation.memory import free_memory

_ROUNDS: Final = 3
_NEARLY: Final = 0.97  # of the best rate; fewer slots mean less latency and less padding at a build's end


@dataclass(frozen=True, slots=True)
class SlotRate:
    """Throughput at a number of slots.

    Attributes:
        slots: UNet rows per tick.
        rows_per_second: UNet rows per second over whole ticks, control included; 0 if memory does not suffice.
        peak_bytes: Peak device memory; 0 where the device does not report it.
    """

    slots: int
    rows_per_second: float
    peak_bytes: int

    def __str__(self) -> str:
        if not self.rows_per_second:
            return f"{self.slots:5d} slots: do not fit into the device's memory"
        memory = f", {self.peak_bytes / 2**30:.2f} GiB" if self.peak_bytes else ""
        return f"{self.slots:5d} slots: {self.rows_per_second:8.1f} rows/s{memory}"


def probe_slots(generator: Generator, limit: int) -> Iterator[SlotRate]:
    """Rates at doubling numbers of slots, up to ``limit`` or the first that does not fit."""
    slots = generator.spec.first_rows
    while slots <= limit:
        rate = _rate(generator, slots)
        yield rate
        if not rate.rows_per_second:
            return
        slots *= 2


def advised_slots(rates: list[SlotRate]) -> int:
    """The smallest number within 3 % of the fastest; 0 if none fits."""
    best = max(rate.rows_per_second for rate in rates)
    return next((rate.slots for rate in rates if best and rate.rows_per_second >= _NEARLY * best), 0)


def _rate(generator: Generator, slots: int) -> SlotRate:
    on_gpu = generator.bundle.unet.device.type == "cuda"
    free_memory()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    try:
        engine = build_engine(generator, slots, generator.spec.control_slots_for(slots))
        seconds = _tick_seconds(engine)
        generator.codec.warm_up(engine.shape.latent_size)
    except OutOfMemoryError:
        return SlotRate(slots, 0.0, 0)
    return SlotRate(slots, slots / seconds, torch.cuda.max_memory_allocated() if on_gpu else 0)


def _tick_seconds(engine: DiffusionEngine) -> float:
    """The fastest of some ticks; the first compiles and captures."""
    engine.warm_up()
    return min(engine.warm_up() for _ in range(_ROUNDS))
