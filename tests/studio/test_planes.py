"""Rectangles and the undo stack."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dentgen.studio.planes import History, Plane, Rectangle, with_values


def paint(planes: dict[str, Plane], history: History, gesture: str, where: Rectangle, value: int) -> None:
    history.touch(gesture, planes, {"a": where})
    shape = planes["a"][where.window].shape
    planes["a"] = with_values(planes["a"], where, np.full(shape, value, np.uint8))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 6), st.integers(0, 6), st.integers(0, 9)), max_size=12)
)
def test_undo_and_redo_pass_through_every_state(strokes: list[tuple[str, int, int, int]]) -> None:
    """The law: undo after any gestures gives the states before them, redo those after, in order."""
    planes: dict[str, Plane] = {"a": np.zeros((8, 8), np.uint8)}
    history, states, last = History(), [planes["a"]], ""
    for name, top, left, value in strokes:
        gesture = name
        paint(planes, history, gesture, Rectangle(top, left, top + 2, left + 2), value)
        if gesture == last:
            states.pop()
        states.append(planes["a"])
        last = gesture
    distinct = [states[0]] + [b for a, b in itertools.pairwise(states) if not np.array_equal(a, b)]
    for state in reversed(distinct[:-1]):
        history.undo(planes)
        assert np.array_equal(planes["a"], state)
    assert history.undo(planes) == {}
    for state in distinct[1:]:
        history.redo(planes)
        assert np.array_equal(planes["a"], state)
    assert history.redo(planes) == {}


def test_only_what_differs_is_kept() -> None:
    planes: dict[str, Plane] = {"a": np.zeros((100, 100), np.uint8)}
    history = History()
    where = Rectangle(10, 20, 60, 70)
    values = np.zeros((50, 50), np.uint8)
    values[5, 7] = 1
    history.touch("x", planes, {"a": where})
    planes["a"] = with_values(planes["a"], where, values)
    assert history.undo(planes) == {"a": Rectangle(15, 27, 16, 28)}


def test_a_new_gesture_forgets_what_was_undone() -> None:
    planes: dict[str, Plane] = {"a": np.zeros((8, 8), np.uint8)}
    history = History()
    paint(planes, history, "x", Rectangle(0, 0, 2, 2), 1)
    history.undo(planes)
    paint(planes, history, "y", Rectangle(4, 4, 6, 6), 2)
    assert history.depth == (1, 0)


def test_shared_planes_cannot_be_written_to() -> None:
    changed = with_values(np.zeros((4, 4), np.uint8), Rectangle(0, 0, 1, 1), np.ones((1, 1), np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        changed[0, 0] = 3
