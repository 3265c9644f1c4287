"""Windows on one axis: few, evenly spaced, from border to border."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from dentgen.diffusion.window_grid import fitted, offsets


@settings(deadline=None)
@given(st.integers(1, 64), st.integers(0, 200), st.floats(0, 0.9))
def test_windows_reach_from_border_to_border_and_overlap(part: int, more: int, overlap: float) -> None:
    found = offsets(part + more, part, overlap)
    assert (found[0], found[-1]) == (0, more)
    steps = [b - a for a, b in pairwise(found)]
    assert all(0 < step <= max(1, int(part * (1 - overlap))) for step in steps)
    assert not steps or max(steps) - min(steps) <= 1
    assert len(found) < 2 or more > (len(found) - 2) * max(1, int(part * (1 - overlap))), "no window too many"


def test_windows_are_no_larger_than_the_picture() -> None:
    assert fitted((128, 384), 128) == (128, 128)
    assert fitted((64, 384), 128) == (64, 128)
