"""Casts: the same jaws on a closed base, without anything soft. The patient wears braces."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from dentgen.conditions.labels import GINGIVA, TOOTH
from dentgen.phantom.camera import VIEWS, View
from dentgen.phantom.mesh import Tissue, oriented_normals
from dentgen.phantom.patient import Patient, build_patient
from dentgen.phantom.plaster_cast import build_cast
from dentgen.phantom.render import Phantom, render_patient
from dentgen.quality.metrics import rgb_to_lab

SIZE = 80


@pytest.fixture(scope="module")
def patient() -> Patient:
    return build_patient(7, "s7-p000002")


@pytest.fixture(scope="module")
def photos() -> dict[str, Phantom]:
    return {str(phantom.attributes["view"]): phantom for phantom in render_patient(7, 2, SIZE)}


@pytest.fixture(scope="module")
def scans() -> dict[str, Phantom]:
    return {str(phantom.attributes["view"]): phantom for phantom in render_patient(7, 2, SIZE, look="scan")}


def test_the_base_closes_the_cast_and_faces_outward(patient: Patient) -> None:
    for jaw in (patient.upper, patient.lower):
        gum, outer, inner, floor, *ends = build_cast(jaw.gum, jaw.teeth.rootwards)
        assert {part.tissue for part in (gum, outer, inner, floor, *ends)} == {Tissue.GUM}
        points = len(jaw.gum.lingual_edge)
        s = np.linspace(-1, 1, points) * (jaw.teeth.curve.half_length_mm + 2.5)
        normal = jaw.teeth.curve.frame(s)[2]
        for part, sign in ((outer, 1), (inner, -1)):
            assert ((oriented_normals(part)[:points] * normal).sum(1) * sign > 0).mean() > 0.95
        assert (oriented_normals(floor) @ jaw.teeth.rootwards > 0.99).all()
        used = gum.vertices[np.unique(gum.faces)]
        assert (used @ jaw.teeth.rootwards).max() < (floor.vertices @ jaw.teeth.rootwards).min()
        assert (outer.vertices[points:] == floor.vertices[:points]).all()
        assert (inner.vertices[points:] == floor.vertices[points:]).all()


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_every_map_shows_the_cast_and_nothing_else(scans: dict[str, Phantom], view: View) -> None:
    maps = scans[view].maps
    solid = maps["seg"] > 0
    for name in ("depth", "normal"):
        assert (maps[name].reshape(SIZE, SIZE, -1).any(-1) == solid).all(), name
    assert not maps["light"][~solid].any()
    assert (maps["curvature"][~solid] == 128).all()


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_casts_agree_with_the_photograph_where_nothing_soft_is_in_the_way(
    photos: dict[str, Phantom], scans: dict[str, Phantom], view: View
) -> None:
    """A cast has no palate, so only the teeth of the upper occlusal view are compared."""
    photo, scan = photos[view].maps, scans[view].maps
    shown = photo["seg"] > 0
    if view == "upper-occlusal":
        shown &= (photo["seg"] == TOOTH) | (scan["seg"] == TOOTH)
    assert shown.sum() > 700
    assert (photo["seg"] == scan["seg"])[shown].all()
    assert (photo["fdi"] == scan["fdi"])[shown].all()
    teeth = photo["seg"] == TOOTH
    assert (photo["normal"] == scan["normal"])[teeth].all(-1).mean() > 0.99


@pytest.mark.slow
def test_casts_show_more_gum_than_lips_leave(photos: dict[str, Phantom], scans: dict[str, Phantom]) -> None:
    for view in ("frontal", "left", "right", "lower-occlusal"):
        assert (scans[view].maps["seg"] == GINGIVA).sum() > (photos[view].maps["seg"] == GINGIVA).sum()


@pytest.mark.slow
def test_inflamed_margins_are_redder_on_casts_too() -> None:
    redness: dict[bool, list[float]] = {True: [], False: []}
    for number in range(12):
        for scan in render_patient(21, number, 64, ("frontal",), look="scan"):
            gum = scan.maps["seg"] == GINGIVA
            near = gum & binary_dilation(scan.maps["seg"] == TOOTH, iterations=3)
            red = rgb_to_lab(scan.picture)[..., 1]
            redness["inflamed gums" in scan.prompt].append(red[near].mean() - red[gum & ~near].mean())
    assert np.mean(redness[True]) > np.mean(redness[False]) + 2
