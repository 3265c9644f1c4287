"""Tooth-level metrics against loops over teeth and pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dentgen.quality.instances import component_ratio, find_teeth


def test_tooth_is_found_if_half_of_it_is_predicted() -> None:
    fdi = np.zeros((2, 4, 8), np.uint8)
    fdi[0, :2, :4], fdi[0, 2:, 4:], fdi[1, :2, :4], fdi[1, 3, 7] = 11, 21, 11, 48
    judged = np.zeros(fdi.shape, bool)
    judged[0, 0, :4] = True  # exactly half of the first 11
    judged[0, 2, 4:7] = True  # three eighths of 21
    judged[1] = True
    found = find_teeth(judged, fdi, np.ones_like(judged), 2)
    assert (found.found, found.teeth, found.small) == (2, 3, 1)
    assert found.recall == pytest.approx(2 / 3)


def test_hidden_parts_of_a_tooth_do_not_count() -> None:
    fdi = np.full((1, 4, 4), 11, np.uint8)
    judged, known = np.zeros(fdi.shape, bool), np.ones(fdi.shape, bool)
    judged[0, :1], known[0, 2:] = True, False
    assert find_teeth(judged, fdi, known, 1).found == 1
    assert find_teeth(judged, fdi, np.ones_like(known), 1).found == 0
    assert find_teeth(judged, fdi, np.zeros_like(known), 1).teeth == 0


def test_figures_without_teeth_are_nan() -> None:
    nothing = np.zeros((1, 4, 4), np.uint8)
    assert np.isnan(find_teeth(nothing > 0, nothing, nothing == 0, 1).recall)
    assert np.isnan(component_ratio(nothing > 0, nothing > 0, 1))


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_find_teeth_matches_a_loop(seed: int, least: int) -> None:
    rng = np.random.default_rng(seed)
    fdi = rng.choice(np.array([0, 11, 12, 85], np.uint8), (3, 6, 6))
    judged, known = rng.random(fdi.shape) < 0.5, rng.random(fdi.shape) < 0.9
    found = teeth = small = 0
    for numbers, seen, clear in zip(fdi, judged, known, strict=True):
        for number in {int(n) for n in numbers[clear]} - {0}:
            pixels = [bool(s) for n, s, c in zip(numbers.flat, seen.flat, clear.flat, strict=True) if n == number and c]
            if len(pixels) < least:
                small += 1
            else:
                teeth, found = teeth + 1, found + (2 * sum(pixels) >= len(pixels))
    result = find_teeth(judged, fdi, known, least)
    assert (result.found, result.teeth, result.small) == (found, teeth, small)


def test_components_touch_by_corners_and_specks_do_not_count() -> None:
    labelled = np.zeros((1, 10, 10), bool)
    labelled[0, :4, :4] = labelled[0, 4:8, 4:8] = True  # one component
    doubled = labelled.copy()
    doubled[0, 3:5, 3:5] = False  # now two
    doubled[0, 9, 0] = True  # a speck
    assert component_ratio(labelled, labelled, 2) == 1
    assert component_ratio(doubled, labelled, 2) == 2
    assert component_ratio(doubled, labelled, 1) == 3


def flood_fill_sizes(mask: NDArray[np.bool_]) -> list[int]:
    """Sizes of the 8-connected components of a mask (H, W), pixel by pixel."""
    left, sizes = {(int(y), int(x)) for y, x in np.argwhere(mask)}, []
    while left:
        queue, size = [left.pop()], 0
        while queue:
            y, x = queue.pop()
            size += 1
            around = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= around
            queue += around
        sizes.append(size)
    return sizes


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_component_ratio_matches_flood_fill(seed: int, least: int) -> None:
    judged, labelled = np.random.default_rng(seed).random((2, 2, 12, 12)) < 0.25
    predicted, true = (
        sum(size >= least for mask in masks for size in flood_fill_sizes(mask)) for masks in (judged, labelled)
    )
    expected = predicted / true if true else float("nan")
    assert component_ratio(judged, labelled, least) == pytest.approx(expected, nan_ok=True)
