"""Measure whether a canvas's latents depend on its neighbours in the batch, its slot, the order, or the batch size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from dentgen.benchmark.engine.work import Work
from dentgen.diffusion.canvas import Canvas
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.generation.canvases import build_canvases

Latents = Mapping[str, Tensor]


def measure_bits(work: Work, engine: DiffusionEngine, single: DiffusionEngine) -> dict[str, dict[str, float | bool]]:
    """Sample the same canvases under several arrangements and compare each with the first run.

    Args:
        work: At least as many images as the engine has slots.
        engine: A warm engine.
        single: A warm engine with one slot.

    Returns:
        Per arrangement, whether all bits are ``equal`` and the ``largest`` absolute difference of the latents, which
        have unit variance.
    """
    canvases = build_canvases(work.generator, work.first(engine.shape.slots).requests)
    whole = _run(engine, canvases)
    shift = len(canvases) // 2 + 1
    return {
        "again": _difference(whole, _run(engine, canvases)),
        "other_order": _difference(whole, _run(engine, canvases[::-1])),
        "other_slots": _difference(whole, _run(engine, [*canvases[shift:], *canvases[:shift]])),
        "fewer_neighbours": _difference(whole, _run(engine, canvases[1::2])),
        "alone": _difference(whole, _run(engine, canvases[-1:])),
        "one_slot": _difference(whole, _run(single, canvases[-1:])),
    }


def _run(engine: DiffusionEngine, canvases: Sequence[Canvas]) -> Latents:
    sampled = engine.run(canvases)
    return {key: latents for key, latents in sampled.items() if isinstance(latents, Tensor)}


def _difference(whole: Latents, other: Latents) -> dict[str, float | bool]:
    largest = max((float((whole[key] - latents).abs().max()) for key, latents in other.items()), default=0.0)
    return {"equal": largest == 0, "largest": largest}
