"""Figures of map agreement: perfect for perfect images, and each worse for its own kind of mistake."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from dentgen.conditions.labels import GINGIVA, IGNORE, TOOTH
from dentgen.quality.map_agreement import Maps, judged_figures, seen_figures, small_teeth


@pytest.fixture
def maps() -> Maps:
    """Two images of 128: a gum band with two touching teeth, a bracket on one, and a speck of a third tooth."""
    seg, fdi = np.zeros((2, 128, 128), np.uint8), np.zeros((2, 128, 128), np.uint8)
    seg[:, 30:100, 10:110] = GINGIVA
    seg[:, 50:90, 20:80] = TOOTH
    fdi[:, 50:90, 20:50], fdi[:, 50:90, 50:80], fdi[:, 90:92, 100:104] = 11, 21, 22
    seg[fdi == 22] = TOOTH
    seg[:, 65:75, 30:40] = IGNORE
    light = np.tile(np.linspace(60, 220, 128), (2, 128, 1)).astype(np.uint8)
    return Maps(seg, fdi, light)


def perfect_prediction(maps: Maps) -> NDArray[np.uint8]:
    return np.where(maps.seg == IGNORE, 0, maps.seg).astype(np.uint8)


def test_perfect_prediction_has_perfect_figures(maps: Maps) -> None:
    figures = judged_figures(perfect_prediction(maps), maps)
    assert figures == {
        "miou": 1, "tooth_recall": 1, "bleed_in": 0, "bleed_out": 0, "boundary_f1": 1, "tooth_pieces": 1,
    }  # fmt: skip
    assert small_teeth(maps) == (4, 2)


def test_gum_on_teeth_is_bleed_in_and_tooth_on_gum_is_bleed_out(maps: Maps) -> None:
    judged = perfect_prediction(maps)
    judged[:, 50:60, 20:80] = GINGIVA
    figures = judged_figures(judged, maps)
    assert figures["bleed_in"] == pytest.approx(600 / (40 * 60 - 100 + 8))
    assert figures["bleed_out"] == 0
    assert figures["boundary_f1"] < 1
    judged = perfect_prediction(maps)
    judged[:, 40:50, 20:80] = TOOTH
    figures = judged_figures(judged, maps)
    assert figures["bleed_in"] == 0
    assert figures["bleed_out"] == pytest.approx(600 / (70 * 100 - 40 * 60 - 8))


def test_lost_and_doubled_teeth(maps: Maps) -> None:
    judged = perfect_prediction(maps)
    judged[0, 50:90, 20:50] = GINGIVA
    assert judged_figures(judged, maps)["tooth_recall"] == 3 / 4
    judged = perfect_prediction(maps)
    judged[:, 105:115, 20:80] = TOOTH
    assert judged_figures(judged, maps)["tooth_pieces"] == 2


def test_lengths_scale_with_the_image(maps: Maps) -> None:
    larger = Maps(*(np.kron(m, np.ones((1, 2, 2), np.uint8)) for m in (maps.seg, maps.fdi, maps.light)))
    assert small_teeth(larger) == small_teeth(maps)
    judged = perfect_prediction(larger)
    judged[:, 97:100, 40:160] = TOOTH  # 3 px at 256 are 1.5 px at 128
    assert judged_figures(judged, larger)["boundary_f1"] == 1


def test_light_correlation_follows_the_lighting_map(maps: Maps) -> None:
    pictures = np.repeat(maps.light[..., None], 3, -1)
    assert seen_figures(pictures, maps)["light_correlation"] > 0.95
    assert seen_figures(255 - pictures, maps)["light_correlation"] < -0.95
    assert seen_figures(pictures[:, ::-1], maps)["light_correlation"] > 0.95, "the lighting is the same in every row"
    assert abs(seen_figures(pictures.transpose(0, 2, 1, 3), maps)["light_correlation"]) < 0.1


def test_blur_lowers_interior_edges_more_than_stray_edges(maps: Maps) -> None:
    clean = np.where(maps.fdi[..., None] > 0, 200, 60).astype(np.uint8).repeat(3, -1)
    clean[:, :, 50:80] = clean[:, :, 50:80] - 20 * (maps.fdi[:, :, 50:80, None] > 0)  # the border of two teeth
    ghost = clean.copy()
    ghost[:, 60:62, 55:75] -= 60
    blurred = ndimage.gaussian_filter(ghost.astype(float), (0, 1.5, 1.5, 0)).astype(np.uint8)
    figures = {name: seen_figures(p, maps) for name, p in (("clean", clean), ("ghost", ghost), ("blurred", blurred))}
    assert figures["clean"]["stray_edges"] == 0
    kept = {name: figures["blurred"][name] / figures["ghost"][name] for name in ("interior_edges", "stray_edges")}
    assert 0 < kept["interior_edges"] < kept["stray_edges"]


def test_maps_are_repeated_consecutively(maps: Maps) -> None:
    two = Maps(maps.seg.copy(), maps.fdi, maps.light)
    two.seg[1] = 0
    assert [int(m.max()) for m in two.repeated(2).seg] == [IGNORE, IGNORE, 0, 0]
