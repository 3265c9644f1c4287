"""Slot allocation: bookkeeping against brute force, and its effect on the number of ticks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dentgen.diffusion.canvas import Canvas, ControlInput
from dentgen.diffusion.guidance import Guidance
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.diffusion.slots import ControlSlots, InFlight, SlotMap
from dentgen.diffusion.solver import SolverTable
from dentgen.models.bundle import Bundle, find_bundle
from dentgen.seeding import NoiseKey
from tests.diffusion.parts import build_engine, prompt, simple, table_of, table_of_folder

NOTHING = torch.zeros(1)
TABLES = [table_of_folder(find_bundle("miniature"), "ddim", steps) for steps in (1, 2, 5)]
GUIDANCE = [Guidance(), *(Guidance(2.0, method, KeyedTensor("-", NOTHING)) for method in ("full", "initialize"))]


def random_canvas(number: int, choice: random.Random) -> Canvas:
    condition = KeyedTensor(f"condition {choice.randrange(3)}", NOTHING)
    return Canvas(
        f"c{number}", NoiseKey(0, "", number), choice.choice(TABLES), KeyedTensor("prompt", NOTHING),
        choice.choice(GUIDANCE), (ControlInput("shared", condition), ControlInput("per row", condition)),
    )  # fmt: skip


def shared_keys(flight: InFlight) -> list[tuple[str, str, int, int]]:
    """Everything that decides the residuals of each row."""
    canvas = flight.canvas
    return [
        (canvas.controls[0].condition.name, row.prompt.name, canvas.table.num_steps, flight.step)
        for row in canvas.rows(flight.step)
    ]


def check(slots: SlotMap, num_rows: int) -> None:
    flights = slots.flights()
    rows = [row for flight in flights for row in flight.rows]
    assert len(set(rows)) == len(rows) <= num_rows, "no row slot is used twice"
    by_slot: dict[int, set[object]] = {}
    by_key: dict[object, set[int]] = {}
    for flight in flights:
        assert len(flight.rows) == len(flight.canvas.rows(flight.step))
        assert list(flight.control) == ["shared"], "per-row branches take no control slots"
        for number, key in zip(flight.control["shared"], shared_keys(flight), strict=True):
            by_slot.setdefault(number, set()).add(key)
            by_key.setdefault(key, set()).add(number)
    assert all(len(keys) == 1 for keys in by_slot.values()), "rows share a control slot only if their residuals agree"
    assert set(by_slot) <= {0, 1, 2}


@pytest.mark.integration
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_slots_are_never_shared_by_rows_that_differ(seed: int) -> None:
    choice = random.Random(seed)
    slots, number = SlotMap(5, {"shared": 3}), 0
    for _ in range(30):
        if slots.try_admit(random_canvas(number, choice)) is not None:
            number += 1
        check(slots, 5)
        if choice.random() < 0.5:
            for flight in slots.flights():
                slots.advance(flight)
                if flight.done:
                    slots.release(flight)
            check(slots, 5)
    for flight in slots.flights():
        slots.release(flight)
    admitted = [slots.try_admit(replace(random_canvas(n, choice), guidance=Guidance(), controls=())) for n in range(6)]
    assert [flight.rows for flight in admitted if flight] == [(0,), (1,), (2,), (3,), (4,)], "all slots are free again"


def test_a_canvas_that_does_not_fit_changes_nothing() -> None:
    choice = random.Random(0)
    plain, guided = (replace(random_canvas(n, choice), guidance=GUIDANCE[n], controls=()) for n in range(2))
    slots = SlotMap(2, {"shared": 1})
    assert slots.try_admit(plain) is not None
    assert slots.try_admit(guided) is None
    two_inputs = replace(random_canvas(2, choice), guidance=GUIDANCE[1])
    assert SlotMap(4, {"shared": 1}).try_admit(two_inputs) is None, "two prompts need two control slots"
    flight = slots.try_admit(replace(plain, key="other"))
    assert flight is not None
    assert flight.rows == (1,)


def test_control_slots_are_reference_counted() -> None:
    a, b, c = (("condition", name, 0, 0) for name in "abc")
    slots = ControlSlots(2)
    assert slots.find([a, b, a]) == (0, 1, 0)
    slots.take((0, 1, 0), (a, b, a))
    assert slots.find([c]) is None
    slots.leave([0])
    assert slots.find([c]) is None, "the second user keeps the slot"
    slots.rename(0, c)
    assert slots.find([c, b]) == (0, 1)
    slots.leave([0])
    assert slots.find([a]) == (0,)


@pytest.fixture(scope="module")
def unipc(miniature: Bundle) -> SolverTable:
    return table_of(miniature, "unipc", 4)


def count_ticks(bundle: Bundle, canvases: Sequence[Canvas], *, slots: int, control_slots: int) -> int:
    engine, count = build_engine(bundle, slots=slots, control_slots=control_slots), 0
    for canvas in canvases:
        engine.submit(canvas)
    while not engine.idle:
        engine.tick()
        count += 1
    return count


@pytest.mark.integration
def test_variants_of_a_condition_share_a_control_slot(miniature: Bundle, unipc: SolverTable) -> None:
    same = [simple(miniature, n, 0, unipc) for n in range(4)]
    different = [simple(miniature, n, n, unipc) for n in range(2)]
    assert count_ticks(miniature, same, slots=4, control_slots=1) == 4
    assert count_ticks(miniature, different, slots=4, control_slots=1) == 8, "the second condition waits"


def test_the_extra_row_of_initialize_is_free_after_one_tick(miniature: Bundle, unipc: SolverTable) -> None:
    """Three row slots and two guided canvases: the second is admitted one tick after the first, not four."""
    guidance = Guidance(1.5, "initialize", prompt(miniature, ""))
    canvases = [simple(miniature, n, n, unipc, guidance=guidance) for n in range(2)]
    assert count_ticks(miniature, canvases, slots=3, control_slots=3) == 5
    full = [replace(canvas, guidance=Guidance(1.5, "full", prompt(miniature, ""))) for canvas in canvases]
    assert count_ticks(miniature, full, slots=3, control_slots=3) == 8


def asked(number: int, prompt_name: str) -> Canvas:
    shared = (ControlInput("shared", KeyedTensor("condition", NOTHING)),)
    return Canvas(f"c{number}", NoiseKey(0, "", number), TABLES[2], KeyedTensor(prompt_name, NOTHING), controls=shared)


def test_another_prompt_takes_another_control_slot_or_none() -> None:
    """Neighbours stay where they are, a slot of one's own is used again, and equal prompts share."""
    slots = SlotMap(4, {"shared": 2})
    first, second = (slots.try_admit(asked(n, "a")) for n in range(2))
    assert first is not None
    assert second is not None
    assert first.control == second.control == {"shared": (0,)}
    assert slots.change(first, asked(0, "b"))
    assert (first.control, second.control) == ({"shared": (1,)}, {"shared": (0,)})
    third = slots.try_admit(asked(2, "b"))
    assert third is not None
    assert third.control == {"shared": (1,)}
    assert not slots.change(third, asked(2, "c"))
    assert (third.control, third.canvas.prompt.name) == ({"shared": (1,)}, "b")
    assert slots.change(third, asked(2, "a"))
    assert slots.change(first, asked(0, "c"))
    assert (first.control, third.control) == ({"shared": (1,)}, {"shared": (0,)})
    assert first.rows == (0,)
    for flight in (first, second, third):
        slots.release(flight)
    fourth = slots.try_admit(asked(3, "d"))
    assert fourth is not None
    assert fourth.control == {"shared": (0,)}, "all are free again"


def test_the_same_prompt_keeps_its_control_slot() -> None:
    slots = SlotMap(4, {"shared": 4})
    flights = [flight for n in range(3) if (flight := slots.try_admit(asked(n, f"{n}"))) is not None]
    slots.release(flights[0])
    same = asked(2, "2")
    assert slots.change(flights[2], same)
    assert flights[2].control == {"shared": (2,)}
    assert flights[2].canvas is same
