"""Timing of a single image: one engine tick with one slot, and every decoder, measured side by side in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Final

import torch

from dentgen.generation.engines import build_engine
from dentgen.generation.generator import Generator, load_generator
from dentgen.generation.threads import torch_threads
from dentgen.progress import tracked
from dentgen.spec.build import BuildSpec

ROUNDS: Final = 21


@dataclass(frozen=True, slots=True)
class Timing:
    """Median seconds of interleaved rounds.

    Attributes:
        tick: One tick of an engine with one slot.
        decode: Decoding one image alone, by decoder name.
        batch: Decoding a build's batch (as many images as the engine has slots), by decoder name.
    """

    tick: float
    decode: Mapping[str, float]
    batch: Mapping[str, float]

    def latency(self, steps: int, decoder: str) -> float:
        """Seconds of one image alone on an idle engine: ``steps`` ticks, then decoding."""
        return steps * self.tick + self.decode[decoder]

    def speedup(self, baseline: str) -> dict[str, float]:
        """Seconds of the baseline decoder over those of each decoder, for one image."""
        return {name: self.decode[baseline] / seconds for name, seconds in self.decode.items()}

    def batch_speedup(self, baseline: str) -> dict[str, float]:
        """The same for a build's batch."""
        return {name: self.batch[baseline] / seconds for name, seconds in self.batch.items()}


def measure_timing(specs: Mapping[str, BuildSpec], rounds: int = ROUNDS) -> Timing:
    """Load a generator per decoder and time them in turn, so that a busy machine slows all of them alike.

    Args:
        specs: Spec of every decoder by its name; ticks are those of the first.
        rounds: Measurements of everything; medians are returned.
    """
    with torch_threads(next(iter(specs.values())).engine.threads):
        generators = {name: load_generator(spec) for name, spec in specs.items()}
        first = next(iter(generators.values()))
        engine = build_engine(first, first.spec.first_rows, 1)
        engine.warm_up()
        ticks: list[float] = []
        decodes: dict[str, list[float]] = {name: [] for name in generators}
        batches: dict[str, list[float]] = {name: [] for name in generators}
        for _ in tracked(range(rounds), "timing", "round"):
            ticks.append(engine.warm_up())
            for name, generator in generators.items():
                decodes[name].append(_decode_seconds(generator))
                batches[name].append(_batch_seconds(generator))
    return Timing(median(ticks), _medians(decodes), _medians(batches))


def _medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: median(values) for name, values in seconds.items()}


@torch.no_grad()
def _decode_seconds(generator: Generator) -> float:
    """Seconds of one image through the decoder alone, in a batch of its own."""
    bundle = generator.bundle
    decoder = bundle.tiny_decoder or bundle.vae
    edge = generator.spec.conditions.edge // generator.codec.downscale
    latents = torch.zeros(1, 4, edge, edge, device=bundle.unet.device, dtype=bundle.unet.dtype)
    decoder.decode(latents)
    return _seconds(lambda: decoder.decode(latents).sample.float().cpu())


def _batch_seconds(generator: Generator) -> float:
    """Seconds of as many images as the engine has slots, from latents to 8-bit levels."""
    edge = generator.spec.conditions.edge // generator.codec.downscale
    latents = [torch.zeros(4, edge, edge)] * generator.spec.engine.slots
    return _seconds(lambda: generator.codec.decode_finite(latents))


def _seconds(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began
