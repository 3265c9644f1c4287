"""Teeth counted one by one, against loops over numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dentgen.quality.instances import component_ratio, find_teeth


def test_half_of_a_tooth_is_enough() -> None:
    fdi = np.zeros((2, 4, 8), np.uint8)
    fdi[0, :2, :4], fdi[0, 2:, 4:], fdi[1, :2, :4], fdi[1, 3, 7] = 11, 21, 11, 48
    judged = np.zeros(fdi.shape, bool)
    judged[0, 0, :4] = True  # exactly half of the first 11
    judged[0, 2, 4:7] = True  # three eighths of 21
    judged[1] = True
    found = find_teeth(judged, fdi, np.ones_like(judged), 2)
    assert (found.found, found.teeth, found.small) == (2, 3, 1)
    assert found.recall == pytest.approx(2 / 3)


def test_what_hides_a_tooth_does_not_count() -> None:
    fdi = np.full((1, 4, 4), 11, np.uint8)
    judged, known = np.zeros(fdi.shape, bool), np.ones(fdi.shape, bool)
    judged[0, :1], known[0, 2:] = True, False
    assert find_teeth(judged, fdi, known, 1).found == 1
    assert find_teeth(judged, fdi, np.ones_like(known), 1).found == 0
    assert find_teeth(judged, fdi, np.zeros_like(known), 1).teeth == 0


def test_no_teeth_is_no_figure() -> None:
    nothing = np.zeros((1, 4, 4), np.uint8)
    assert np.isnan(find_teeth(nothing > 0, nothing, nothing == 0, 1).recall)
    assert np.isnan(component_ratio(nothing > 0, nothing > 0, 1))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_finding_is_what_a_loop_finds(seed: int, least: int) -> None:
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


def test_pieces_touch_by_corners_and_specks_do_not_count() -> None:
    labelled = np.zeros((1, 10, 10), bool)
    labelled[0, :4, :4] = labelled[0, 4:8, 4:8] = True  # one piece
    doubled = labelled.copy()
    doubled[0, 3:5, 3:5] = False  # now two
    doubled[0, 9, 0] = True  # a speck
    assert component_ratio(labelled, labelled, 2) == 1
    assert component_ratio(doubled, labelled, 2) == 2
    assert component_ratio(doubled, labelled, 1) == 3
