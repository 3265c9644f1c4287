"""How many slots an engine should have here: rows per second at growing numbers, until memory or the gain ends.

Refuses to choose for a build: the number decides bytes, so it stands in the spec.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch

from dentgen.diffusion.engine import DiffusionEngine
from dentgen.errors import OutOfMemoryError
from dentgen.generation.generator import Generator, build_engine
from dentgen.generation.memory import free_memory

_ROUNDS: Final = 3
_WORTH: Final = 0.97  # of the best rate; fewer slots mean less latency and less padding at a build's end


@dataclass(frozen=True, slots=True)
class SlotRate:
    """What a number of slots gives.

    Attributes:
        slots: UNet rows per tick.
        rows_per_second: Of whole ticks, controls included; 0 where the memory does not suffice.
        peak_bytes: Most memory of the device in use; 0 where the device does not say.
    """

    slots: int
    rows_per_second: float
    peak_bytes: int

    def __str__(self) -> str:
        if not self.rows_per_second:
            return f"{self.slots:5d} slots: do not fit into the device's memory"
        memory = f", {self.peak_bytes / 2**30:.2f} GiB" if self.peak_bytes else ""
        return f"{self.slots:5d} slots: {self.rows_per_second:8.1f} rows/s{memory}"


def probe_slots(generator: Generator, most: int) -> Iterator[SlotRate]:
    """Rates at doubling numbers of slots, up to ``most`` or the first that does not fit."""
    slots = generator.spec.sampling.first_rows
    while slots <= most:
        rate = _rate(generator, slots)
        yield rate
        if not rate.rows_per_second:
            return
        slots *= 2


def advised_slots(rates: list[SlotRate]) -> int:
    """The smallest number that is nearly as fast as the fastest; 0 if none fits."""
    best = max(rate.rows_per_second for rate in rates)
    return next((rate.slots for rate in rates if best and rate.rows_per_second >= _WORTH * best), 0)


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
