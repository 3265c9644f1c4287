"""Figures of single pictures: laws on planted masks and pictures."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from dentgen.conditions.labels import GINGIVA, IGNORE, TOOTH
from dentgen.quality.map_agreement import Maps
from dentgen.quality.picture_figures import BAD_IF_HIGH, BAD_IF_LOW, picture_figures
from dentgen.records import FIGURES, FigureName

SIZE = 128


def labels(size: int = SIZE) -> NDArray[np.uint8]:
    seg = np.zeros((size, size), np.uint8)
    seg[size // 4 : 3 * size // 4, size // 8 : 7 * size // 8] = GINGIVA
    for left in range(size // 4, 3 * size // 4, size // 8):
        seg[size // 2 : 5 * size // 8, left : left + size // 10] = TOOTH
    return seg


def maps_of(seg: NDArray[np.uint8]) -> Maps:
    rng = np.random.default_rng(1)
    fdi = np.where(seg == TOOTH, 11, 0).astype(np.uint8)
    return Maps(seg[None], fdi[None], rng.integers(20, 250, (1, *seg.shape), np.uint8))


def seen(classes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities of judges that are sure of classes (H, W)."""
    return np.stack([classes == value for value in range(3)])[None].astype(np.float32)


def figures(
    seg: NDArray[np.uint8], judged: NDArray[np.uint8], picture: NDArray[np.uint8] | None = None
) -> dict[FigureName, float]:
    shown = np.random.default_rng(2).integers(10, 240, (*seg.shape, 3), np.uint8) if picture is None else picture
    return {name: float(value[0]) for name, value in picture_figures(shown[None], seen(judged), maps_of(seg)).items()}


def test_a_picture_that_is_as_its_labels_say_is_perfect() -> None:
    found = figures(labels(), labels())
    perfect = {"miou": 1, "tooth_recall": 1, "boundary_f1": 1, "bleed_in": 0, "bleed_out": 0, "shift": 0, "clipped": 0}
    assert {name: found[name] for name in perfect} == perfect  # type: ignore[index]
    assert {*found, "distinct"} == set(FIGURES)


@pytest.mark.parametrize("offset", [(0, 3), (-3, 0), (2, -2), (0, 0)])
@pytest.mark.parametrize("size", [128, 256])
def test_a_shift_of_the_teeth_is_found(offset: tuple[int, int], size: int) -> None:
    seg, scale = labels(size), size / SIZE
    moved = ndimage.shift(seg, [scale * step for step in offset], order=0, mode="nearest")
    assert figures(seg, moved)["shift"] == pytest.approx(np.hypot(*offset), abs=1e-9)


def test_gum_on_teeth_bleeds_in_and_teeth_on_gum_bleed_out() -> None:
    seg = labels()
    inside, outside = seg.copy(), seg.copy()
    tooth, gum = np.argwhere(seg == TOOTH), np.argwhere(seg == GINGIVA)
    inside[tuple(tooth[: len(tooth) // 4].T)] = GINGIVA
    outside[tuple(gum[: len(gum) // 4].T)] = TOOTH
    assert figures(seg, inside)["bleed_in"] == pytest.approx(0.25, abs=1e-3)
    assert figures(seg, outside)["bleed_out"] == pytest.approx(0.25, abs=1e-3)
    assert figures(seg, inside)["bleed_out"] == figures(seg, outside)["bleed_in"] == 0


def test_nothing_labelled_gives_nothing_to_compare() -> None:
    found = figures(np.full((SIZE, SIZE), IGNORE, np.uint8), labels())
    for name in ("miou", "tooth_recall", "bleed_in", "shift", "light_correlation", "clipped"):
        assert np.isnan(found[name]), name


def test_black_white_and_grey_pixels_where_something_is_labelled() -> None:
    seg, picture = labels(), np.full((SIZE, SIZE, 3), 128, np.uint8)
    counted = np.argwhere(seg > 0)
    picture[tuple(counted[: len(counted) // 5].T)] = 0
    picture[tuple(counted[-len(counted) // 5 :].T)] = 255
    picture[0] = 0  # background
    assert figures(seg, seg, picture)["clipped"] == pytest.approx(0.4, abs=2e-3)


def test_blur_lowers_sharpness_whatever_the_brightness() -> None:
    seg = labels()
    sharp = np.random.default_rng(3).integers(100, 200, (SIZE, SIZE, 3)).astype(np.float64)
    values = [
        figures(seg, seg, ndimage.gaussian_filter(sharp, (width, width, 0)).astype(np.uint8))["sharpness"]
        for width in (0, 0.7, 1.5)
    ]
    assert values[0] - values[1] > 0.3
    assert values[1] - values[2] > 0.3


def test_luminance_and_contrast_are_mean_and_deviation_of_linear_light() -> None:
    half = np.zeros((SIZE, SIZE, 3), np.uint8)
    half[:, : SIZE // 2] = 255
    found = figures(labels(), labels(), half)
    assert found["luminance"] == pytest.approx(0.5)
    assert found["contrast"] == pytest.approx(0.5)


def test_no_figure_is_bad_on_both_lists() -> None:
    assert not BAD_IF_LOW & BAD_IF_HIGH
    assert {"luminance", "sharpness"} == set(FIGURES) - BAD_IF_LOW - BAD_IF_HIGH
