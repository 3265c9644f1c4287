"""Windows on the host: they cover everything, none is cropped, and their weights sum to one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dentgen.diffusion.windows import cover


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 20), st.integers(0, 40), st.integers(1, 20), st.integers(0, 40), st.floats(0, 0.9))
def test_weights_sum_to_one(height: int, more_high: int, width: int, more_wide: int, overlap: float) -> None:
    size, total = (height + more_high, width + more_wide), torch.zeros(height + more_high, width + more_wide)
    windows = cover(size, (height, width), overlap)
    for window in windows:
        assert window.weight.shape == (height, width)
        assert float(window.weight.min()) > 0
        window.crop(total).add_(window.weight)
        assert window.crop(total).shape == (height, width), "no window is cropped"
    torch.testing.assert_close(total, torch.ones(size))


def test_one_window_has_weight_one() -> None:
    (window,) = cover((8, 12), (8, 12))
    assert (window.top, window.left) == (0, 0)
    assert torch.equal(window.weight, torch.ones(8, 12))


@pytest.mark.parametrize(
    ("size", "expected"), [((16, 48), [0, 8, 16, 24, 32]), ((16, 41), [0, 6, 12, 19, 25]), ((16, 17), [0, 1])]
)
def test_windows_are_evenly_spaced_and_end_at_the_border(size: tuple[int, int], expected: list[int]) -> None:
    windows = cover(size, (16, 16), 0.5)
    assert [window.left for window in windows] == expected
    assert {window.top for window in windows} == {0}


def test_weights_are_flat_at_outer_borders_and_fall_towards_neighbours() -> None:
    first, middle, last = cover((4, 16), (4, 8), 0.5)
    assert torch.equal(first.weight[0, :4], torch.ones(4)), "no neighbour here"
    assert torch.allclose(first.weight[0, 4:], torch.tensor([0.875, 0.625, 0.375, 0.125]))
    assert torch.allclose(middle.weight[0], torch.tensor([0.125, 0.375, 0.625, 0.875, 0.875, 0.625, 0.375, 0.125]))
    assert torch.equal(last.weight, first.weight.flip(1))
