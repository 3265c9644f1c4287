"""Contestants take turns, and their work is counted by kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dentgen.benchmark.engine.clock import Lap, run_side_by_side, run_to_end, wait_for

CPU = torch.device("cpu")


def test_contestants_take_turns() -> None:
    order: list[str] = []

    def pieces(name: str, count: int) -> Iterator[str]:
        for _ in range(count):
            order.append(name)
            sum(range(200_000))
            yield "piece"

    laps = run_side_by_side({"short": pieces("short", 4), "long": pieces("long", 12)}, CPU)
    assert order.count("long") == 12
    assert set(order[:4]) == {"short", "long"}
    assert order[-4:] == ["long"] * 4, "the longer one goes on alone"
    for lap in laps.values():
        assert lap.kinds["piece"] <= lap.total


def test_kinds_add_up() -> None:
    lap = Lap()
    for kind, seconds in (("tick", 1.0), ("decode", 0.5), ("tick", 2.0)):
        lap.add(kind, seconds)
    assert lap.kinds == {"tick": 3.0, "decode": 0.5}


def test_an_error_of_a_contestant_is_raised() -> None:
    def failing() -> Iterator[str]:
        yield "piece"
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        run_side_by_side({"failing": failing()}, CPU)


def test_running_to_the_end_exhausts_a_contestant() -> None:
    pieces = iter(["a", "b"])
    run_to_end(pieces)
    assert next(pieces, None) is None
    wait_for(CPU)
