"""Boundary metrics against brute force and against shapes worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dentgen.quality.boundaries import boundary_f1, edge_energy, interiors, outlines


def square(top: int, left: int, edge: int = 10, size: int = 32) -> NDArray[np.bool_]:
    mask = np.zeros((1, size, size), bool)
    mask[0, top : top + edge, left : left + edge] = True
    return mask


def everywhere(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.ones_like(mask)


def outline(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Pixels of a mask (H, W) with a 4-neighbour outside, one by one."""
    height, width = mask.shape
    found = []
    for y, x in np.argwhere(mask):
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        if any(0 <= b < height and 0 <= a < width and not mask[b, a] for b, a in around):
            found.append((int(y), int(x)))
    return found


def brute_f1(a: NDArray[np.bool_], b: NDArray[np.bool_], known: NDArray[np.bool_], tolerance: float) -> float:
    """Boundary F1, comparing every outline pixel with every other."""

    def near(pixel: tuple[int, int], others: list[tuple[int, int]]) -> bool:
        return any((pixel[0] - y) ** 2 + (pixel[1] - x) ** 2 <= tolerance**2 for y, x in others)

    hits, drawn, found, wanted = 0, 0, 0, 0
    for judged, labelled, clear in zip(a, b, known, strict=True):
        hidden = [(int(y), int(x)) for y, x in np.argwhere(~clear)]
        first, second = outline(judged), outline(labelled)
        counted = [pixel for pixel in first if not near(pixel, hidden)]
        hits, drawn = hits + sum(near(pixel, second) for pixel in counted), drawn + len(counted)
        counted = [pixel for pixel in second if not near(pixel, hidden)]
        found, wanted = found + sum(near(pixel, first) for pixel in counted), wanted + len(counted)
    if not drawn + wanted:
        return float("nan")
    precision, recall = hits / max(drawn, 1), found / max(wanted, 1)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def test_equal_masks_score_one() -> None:
    mask = square(5, 8)
    assert boundary_f1(mask, mask, everywhere(mask), 0) == 1


@pytest.mark.parametrize(("shift", "expected"), [(2, 1.0), (20, 0.0)])
def test_shifted_square_is_within_tolerance_or_not(shift: int, expected: float) -> None:
    """By 2 pixels all of it is, by 20 none of it."""
    assert boundary_f1(square(2 + shift, 4), square(2, 4), everywhere(square(2, 4)), 2) == expected


def test_square_shifted_beyond_tolerance_matches_in_part() -> None:
    """Columns 4 to 13 and 7 to 16, 36 outline pixels each.

    Of each edge along the shift 9 of 10 pixels match (the farthest is 3 away). Of the side near the other square, only
    the 2 pixels next to each corner match, being within 2 of the other square's horizontal edges.
    """
    a, b = square(4, 4), square(4, 7)
    matching = 2 * 9 + 2 * 2
    assert boundary_f1(b, a, everywhere(a), 2) == pytest.approx(brute_f1(b, a, everywhere(a), 2))
    assert boundary_f1(b, a, everywhere(a), 2) == pytest.approx(matching / 36)


def test_strips_by_hand() -> None:
    """Strips across the whole image, whose borders do not count as outline."""
    a, b = np.zeros((1, 16, 16), bool), np.zeros((1, 16, 16), bool)
    a[0, 8:, :] = True  # one outline: row 8
    b[0, 5:12, :] = True  # two outlines: rows 5 and 11; both are 3 from row 8
    assert boundary_f1(b, a, everywhere(a), 2) == 0
    assert boundary_f1(b, a, everywhere(a), 3) == 1
    b[0, 6:9, :], b[0, 5, :], b[0, 9:12, :] = True, False, True  # rows 6 (near) and 11 (not): precision 1/2, recall 1
    assert boundary_f1(b, a, everywhere(a), 2) == pytest.approx(2 / 3)


def test_unknown_pixels_do_not_count() -> None:
    mask = square(5, 8)
    other = mask | square(20, 20, 6)
    known = everywhere(mask)
    assert boundary_f1(other, mask, known, 1) < 1
    known[0, 18:, 18:] = False
    assert boundary_f1(other, mask, known, 1) == 1


def test_score_without_outlines_is_nan() -> None:
    nothing = np.zeros((2, 8, 8), bool)
    assert np.isnan(boundary_f1(nothing, nothing, everywhere(nothing), 2))
    assert boundary_f1(nothing, np.pad(np.ones((2, 4, 4), bool), ((0, 0), (2, 2), (2, 2))), everywhere(nothing), 2) == 0


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 1.0, 1.5, 2.0]))
def test_boundary_f1_matches_brute_force(seed: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 12, 9)) < 0.4, rng.random((2, 12, 9)) < 0.4
    known = rng.random((2, 12, 9)) < 0.97
    assert boundary_f1(a, b, known, tolerance) == pytest.approx(brute_f1(a, b, known, tolerance), nan_ok=True)


def test_interiors_and_outlines_by_hand() -> None:
    fdi = np.zeros((1, 12, 24), np.uint8)
    fdi[0, :, 4:14], fdi[0, :, 14:24] = 11, 21
    inside = interiors(fdi, 2)
    columns = inside[0].all(0)
    assert np.flatnonzero(columns).tolist() == [7, 8, 9, 10, *range(17, 24)], "the image border is not an outline"
    assert not inside[0, :, ~columns].any()
    assert np.flatnonzero(outlines(fdi, 1)[0].any(0)).tolist() == [2, 3, 4, 5, 12, 13, 14, 15]
    assert not (outlines(fdi, 2) & inside).any()


def test_edge_energy_by_hand() -> None:
    ramp = np.tile(np.arange(16, dtype=np.float64) / 20, (16, 1))
    srgb = np.where(ramp <= 0.0031308, 12.92 * ramp, 1.055 * ramp ** (1 / 2.4) - 0.055)
    picture = np.repeat((255 * srgb).round().astype(np.uint8)[None, ..., None], 3, -1)
    assert edge_energy(picture, np.ones((1, 16, 16), bool)) == pytest.approx(1 / 400, rel=0.02)
    assert edge_energy(np.full_like(picture, 90), np.ones((1, 16, 16), bool)) == 0
    assert np.isnan(edge_energy(picture, np.zeros((1, 16, 16), bool)))


def test_contour_inside_a_tooth_raises_its_interior_energy() -> None:
    picture = np.full((1, 32, 32, 3), 180, np.uint8)
    ghost = picture.copy()
    ghost[0, 16:, :] = 150
    inside = interiors(square(4, 4, 24).astype(np.uint8), 2)
    assert edge_energy(ghost, inside) > edge_energy(picture, inside) == 0
