"""On a CPU, latents do not depend on neighbours, order or slot; the comparison notices if they do."""

from __future__ import annotations

import torch

from dentgen.benchmark.engine.bits import _difference, measure_bits
from dentgen.benchmark.engine.work import Work


def test_bits_do_not_depend_on_the_arrangement(work: Work) -> None:
    engine, single = work.engine(), work.engine(1)
    engine.warm_up()
    single.warm_up()
    found = measure_bits(work, engine, single)
    assert found.pop("one_slot")["largest"] < 1e-3, "another batch size may round differently"
    assert set(found) == {"again", "other_order", "other_slots", "fewer_neighbours", "alone"}
    for arrangement, difference in found.items():
        assert difference == {"equal": True, "largest": 0.0}, arrangement


def test_the_largest_difference_is_reported() -> None:
    latents = {"a": torch.zeros(4, 2, 2), "b": torch.ones(4, 2, 2)}
    moved = {"b": torch.ones(4, 2, 2)}
    moved["b"][1, 0, 1] += 0.25
    assert _difference(latents, moved) == {"equal": False, "largest": 0.25}
    assert _difference(latents, {"a": latents["a"].clone()}) == {"equal": True, "largest": 0.0}
