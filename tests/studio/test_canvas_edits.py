"""Edits between two documents: what differs and nothing else, as far as a canvas has room."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from dentgen.generation.generator import Generator
from dentgen.generation.live import LiveCanvas
from dentgen.studio.canvas_edits import edits, has_room, live_layers
from dentgen.studio.openers import list_records, opened
from dentgen.studio.planes import Rectangle
from dentgen.studio.settings import Settings
from dentgen.studio.work import Snapshot, Work
from tests.conftest import JAWS


@pytest.fixture
def work(generator: Generator) -> Work:
    record = opened(list_records(str(JAWS))[0].read(), generator.spec)
    work = Work(record, Settings.of(generator.spec))
    for prompt in ("gold", "silver"):
        paint(work, work.add_layer("", prompt).plane)
    return work


def paint(work: Work, plane: str, value: int = 1) -> None:
    work.change(plane, {plane: (Rectangle(0, 0, 9, 9), np.full((9, 9), value, np.uint8))})


@pytest.fixture
def canvas(generator: Generator, work: Work) -> Iterator[LiveCanvas]:
    """With rows for two layers."""
    snapshot = work.snapshot()
    with LiveCanvas(generator, work.prompt, live_layers(snapshot), regions=2, record=snapshot.record) as one:
        yield one


def asked(canvas: LiveCanvas, old: Snapshot, work: Work) -> list[str]:
    return [what for what, _ in edits(canvas, old, work.snapshot())]


CHANGES: dict[str, tuple[Callable[[Work], object], list[str]]] = {
    "nothing": (lambda work: work.set(settings=work.settings.model_copy(update={"playing": False})), []),
    "prompt": (lambda work: work.set(prompt="other"), ["prompt"]),
    "map": (lambda work: paint(work, "segmentation"), ["maps"]),
    "scale": (
        lambda work: work.set(settings=work.settings.model_copy(update={"adapters": {"blended": 0.5}})), ["scales"],
    ),
    "mask": (lambda work: paint(work, "layer 1", 0), ["mask 1"]),
    "blur": (lambda work: work.change_layer(2, blur=3.0), ["mask 2"]),
    "prompt of a layer": (lambda work: work.change_layer(2, prompt="other"), ["prompt 2"]),
    "negative prompt": (lambda work: work.change_layer(2, negative_prompt="other"), ["negative prompt 2"]),
    "hidden": (lambda work: work.change_layer(1, visible=False), ["strength 1"]),
    "name": (lambda work: work.change_layer(1, name="other"), []),
    "moved": (lambda work: work.move_layer(1, 1), ["order"]),
    "removed": (lambda work: work.remove_layer(1), ["removal 1"]),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_differs_is_edited_and_nothing_else(canvas: LiveCanvas, work: Work, change: str) -> None:
    before, (apply, expected) = work.snapshot(), CHANGES[change]
    apply(work)
    assert asked(canvas, before, work) == expected
    assert canvas.layers == [str(layer.number) for layer in work.layers]
    assert asked(canvas, work.snapshot(), work) == []


def test_a_layer_takes_the_room_of_one_that_is_gone(canvas: LiveCanvas, work: Work) -> None:
    before = work.snapshot()
    work.remove_layer(1)
    paint(work, work.add_layer("", "black").plane)
    assert has_room(canvas, work.snapshot())
    assert asked(canvas, before, work) == ["removal 1", "layer 3"]
    assert canvas.layers == ["2", "3"]


def test_room_is_for_what_is_to_be_seen(canvas: LiveCanvas, work: Work) -> None:
    before = work.snapshot()
    empty, black = work.add_layer("", "empty"), work.add_layer("", "black")
    assert has_room(canvas, work.snapshot()), "layers with nothing to be seen need none"
    assert asked(canvas, before, work) == []
    paint(work, black.plane)
    assert not has_room(canvas, work.snapshot())
    work.change_layer(black.number, visible=False)
    assert has_room(canvas, work.snapshot())
    work.change_layer(black.number, visible=True, strength=0.0)
    assert has_room(canvas, work.snapshot())
    work.change_layer(black.number, strength=1.0)
    work.remove_layer(1)
    assert has_room(canvas, work.snapshot())
    assert asked(canvas, before, work) == ["removal 1", f"layer {black.number}"]
    assert str(empty.number) not in canvas.layers
