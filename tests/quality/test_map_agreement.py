"""The figures together: perfect on perfect pictures, and each worse where its own kind of mistake is made."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from dentgen.conditions.labels import GINGIVA, IGNORE, TOOTH
from dentgen.quality.map_agreement import Maps, judged_figures, seen_figures, small_teeth


@pytest.fixture
def maps() -> Maps:
    """Two pictures of 128: a gum band with two teeth that touch, a bracket on one, and a speck of a third tooth."""
    seg, fdi = np.zeros((2, 128, 128), np.uint8), np.zeros((2, 128, 128), np.uint8)
    seg[:, 30:100, 10:110] = GINGIVA
    seg[:, 50:90, 20:80] = TOOTH
    fdi[:, 50:90, 20:50], fdi[:, 50:90, 50:80], fdi[:, 90:92, 100:104] = 11, 21, 22
    seg[fdi == 22] = TOOTH
    seg[:, 65:75, 30:40] = IGNORE
    light = np.tile(np.linspace(60, 220, 128), (2, 128, 1)).astype(np.uint8)
    return Maps(seg, fdi, light)


def seen(maps: Maps) -> NDArray[np.uint8]:
    return np.where(maps.seg == IGNORE, 0, maps.seg).astype(np.uint8)


def test_a_perfect_judgement_is_perfect(maps: Maps) -> None:
    figures = judged_figures(seen(maps), maps)
    assert figures == {
        "miou": 1, "tooth_recall": 1, "bleed_in": 0, "bleed_out": 0, "boundary_f1": 1, "tooth_pieces": 1,
    }  # fmt: skip
    assert small_teeth(maps) == (4, 2)


def test_gum_on_teeth_is_bleed_in_and_teeth_on_gum_its_converse(maps: Maps) -> None:
    judged = seen(maps)
    judged[:, 50:60, 20:80] = GINGIVA
    figures = judged_figures(judged, maps)
    assert figures["bleed_in"] == pytest.approx(600 / (40 * 60 - 100 + 8))
    assert figures["bleed_out"] == 0
    assert figures["boundary_f1"] < 1
    judged = seen(maps)
    judged[:, 40:50, 20:80] = TOOTH
    figures = judged_figures(judged, maps)
    assert figures["bleed_in"] == 0
    assert figures["bleed_out"] == pytest.approx(600 / (70 * 100 - 40 * 60 - 8))


def test_a_lost_tooth_and_a_doubled_one(maps: Maps) -> None:
    judged = seen(maps)
    judged[0, 50:90, 20:50] = GINGIVA
    assert judged_figures(judged, maps)["tooth_recall"] == 3 / 4
    judged = seen(maps)
    judged[:, 105:115, 20:80] = TOOTH
    assert judged_figures(judged, maps)["tooth_pieces"] == 2


def test_lengths_grow_with_the_picture(maps: Maps) -> None:
    larger = Maps(*(np.kron(m, np.ones((1, 2, 2), np.uint8)) for m in (maps.seg, maps.fdi, maps.light)))
    assert small_teeth(larger) == small_teeth(maps)
    judged = seen(larger)
    judged[:, 97:100, 40:160] = TOOTH  # 3 px at 256 are less than 2 px at 128
    assert judged_figures(judged, larger)["boundary_f1"] == 1


def test_pictures_that_follow_their_light(maps: Maps) -> None:
    pictures = np.repeat(maps.light[..., None], 3, -1)
    assert seen_figures(pictures, maps)["light_correlation"] > 0.95
    assert seen_figures(255 - pictures, maps)["light_correlation"] < -0.95
    assert seen_figures(pictures[:, ::-1], maps)["light_correlation"] > 0.95, "light is the same in every row"
    assert abs(seen_figures(pictures.transpose(0, 2, 1, 3), maps)["light_correlation"]) < 0.1


def test_a_second_contour_inside_a_tooth_is_a_stray_edge_and_blur_hides_it_less(maps: Maps) -> None:
    clean = np.where(maps.fdi[..., None] > 0, 200, 60).astype(np.uint8).repeat(3, -1)
    clean[:, :, 50:80] = clean[:, :, 50:80] - 20 * (maps.fdi[:, :, 50:80, None] > 0)  # the border of two teeth
    ghost = clean.copy()
    ghost[:, 60:62, 55:75] -= 60
    blurred = ndimage.gaussian_filter(ghost.astype(float), (0, 1.5, 1.5, 0)).astype(np.uint8)
    figures = {name: seen_figures(p, maps) for name, p in (("clean", clean), ("ghost", ghost), ("blurred", blurred))}
    assert figures["clean"]["stray_edges"] == 0
    lost = {name: figures["blurred"][name] / figures["ghost"][name] for name in ("interior_edges", "stray_edges")}
    assert 0 < lost["interior_edges"] < lost["stray_edges"]


def test_repeated_maps_stand_in_a_row(maps: Maps) -> None:
    two = Maps(maps.seg.copy(), maps.fdi, maps.light)
    two.seg[1] = 0
    assert [int(m.max()) for m in two.repeated(2).seg] == [IGNORE, IGNORE, 0, 0]
