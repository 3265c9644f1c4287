"""Whether a canvas's latents depend on who shares the batch with it, on its slot, on the order and on the batch's size.

Measured on the engine at hand, not promised. Refuses to know speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from dentgen.benchmark.engine.work import Work
from dentgen.diffusion.canvas import Canvas
from dentgen.diffusion.engine import DiffusionEngine
from dentgen.generation.canvases import build_canvases

Latents = Mapping[str, Tensor]


def measure_bits(work: Work, engine: DiffusionEngine, single: DiffusionEngine) -> dict[str, dict[str, float | bool]]:
    """Sample one engine full of canvases in several ways and compare with the first.

    Args:
        work: At least as many pictures as the engine has slots.
        engine: A warm engine.
        single: One of a single slot.

    Returns:
        For each way whether all bits are ``equal``, and the ``largest`` difference of latents, whose variance is one.
    """
    canvases = build_canvases(work.generator, work.first(engine.shape.slots).requests)
    whole = _run(engine, canvases)
    turned = len(canvases) // 2 + 1
    return {
        "again": _difference(whole, _run(engine, canvases)),
        "other_order": _difference(whole, _run(engine, canvases[::-1])),
        "other_slots": _difference(whole, _run(engine, [*canvases[turned:], *canvases[:turned]])),
        "fewer_neighbours": _difference(whole, _run(engine, canvases[1::2])),
        "alone": _difference(whole, _run(engine, canvases[-1:])),
        "one_slot": _difference(whole, _run(single, canvases[-1:])),
    }


def _run(engine: DiffusionEngine, canvases: Sequence[Canvas]) -> Latents:
    found = engine.run(canvases)
    return {key: latents for key, latents in found.items() if isinstance(latents, Tensor)}


def _difference(whole: Latents, other: Latents) -> dict[str, float | bool]:
    largest = max((float((whole[key] - latents).abs().max()) for key, latents in other.items()), default=0.0)
    return {"equal": largest == 0, "largest": largest}
