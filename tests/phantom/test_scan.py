"""The scan-model look: the same jaws on a cast base, before a flat background. The patient wears braces."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from dentgen.conditions.labels import GINGIVA, TOOTH
from dentgen.phantom.camera import VIEWS, View
from dentgen.phantom.light import neutral, sample_lighting
from dentgen.phantom.mesh import Tissue, oriented_normals
from dentgen.phantom.patient import build_patient
from dentgen.phantom.plaster_cast import build_cast
from dentgen.phantom.prompt import SCAN_LIGHT_WORD
from dentgen.phantom.render import Phantom, render_patient
from dentgen.quality.metrics import rgb_to_lab
from dentgen.seeding import numpy_generator

BOTH_LOOKS = pytest.mark.parametrize("view", VIEWS)


@pytest.fixture(scope="module")
def photos() -> dict[str, Phantom]:
    return {str(phantom.attributes["view"]): phantom for phantom in render_patient(7, 2, 96)}


@pytest.fixture(scope="module")
def scans() -> dict[str, Phantom]:
    return {str(phantom.attributes["view"]): phantom for phantom in render_patient(7, 2, 96, look="scan")}


@BOTH_LOOKS
def test_background_is_flat_and_nowhere_else(scans: dict[str, Phantom], view: View) -> None:
    seg, picture = scans[view].maps["seg"], scans[view].picture
    empty = ~binary_dilation(seg > 0, np.ones((3, 3)))
    assert empty.sum() > 50
    assert (picture[empty] == 59).all()
    assert (picture[seg > 0] == 59).all(-1).mean() < 0.01


@BOTH_LOOKS
def test_maps_show_what_the_picture_shows(scans: dict[str, Phantom], view: View) -> None:
    """Nothing soft hides in the maps: a pixel is jaw in all of them or in none."""
    maps = scans[view].maps
    solid = maps["seg"] > 0
    for name in ("depth", "normal"):
        assert (maps[name].reshape(96, 96, -1).any(-1) == solid).all(), name
    assert not maps["light"][~solid].any()
    assert (maps["curvature"][~solid] == 128).all()


@BOTH_LOOKS
def test_jaws_are_those_of_the_photograph(photos: dict[str, Phantom], scans: dict[str, Phantom], view: View) -> None:
    """Where no lip, cheek or tongue hides them; of the upper jaw's palate a cast has nothing."""
    photo, scan = photos[view].maps, scans[view].maps
    shown = photo["seg"] > 0
    if view == "upper-occlusal":
        shown &= (photo["seg"] == TOOTH) | (scan["seg"] == TOOTH)
    assert shown.sum() > 1000
    assert (photo["seg"] == scan["seg"])[shown].all()
    assert (photo["fdi"] == scan["fdi"])[shown].all()
    teeth = photo["seg"] == TOOTH
    assert (photo["normal"] == scan["normal"])[teeth].all(-1).mean() > 0.99


@BOTH_LOOKS
def test_a_cast_is_teeth_and_gum(view: View) -> None:
    parts = build_patient(7, "s7-p000002").cast_parts(view)
    assert {part.tissue for part in parts} == {Tissue.TOOTH, Tissue.APPLIANCE, Tissue.GUM}


def test_the_light_of_a_scan_is_neutral() -> None:
    lighting = neutral(sample_lighting(numpy_generator("neutral")))
    assert all(np.ptp(lamp.strength) == 0 < lamp.strength.min() for lamp in lighting.lamps)
    assert np.ptp(lighting.ambient) == 0
    assert not lighting.surround.any(), "what misses the model must add nothing to its edges"
    assert lighting.vignette == lighting.fading == 0


def test_a_scan_shows_more_gum_than_lips_leave(photos: dict[str, Phantom], scans: dict[str, Phantom]) -> None:
    for view in ("frontal", "left", "right", "lower-occlusal"):
        assert (scans[view].maps["seg"] == GINGIVA).sum() > (photos[view].maps["seg"] == GINGIVA).sum()


def test_records_tell_the_looks_apart(photos: dict[str, Phantom], scans: dict[str, Phantom]) -> None:
    """By key and prompt; what is so of the patient, the camera and the lamps stays so."""
    for view in VIEWS:
        photo, scan = photos[view], scans[view]
        assert scan.key == f"s7-p000002-scan-{view}"
        assert (scan.group, scan.split) == (photo.group, photo.split)
        seen = {"missing_teeth", "restorations", "caries"}  # lips hide some
        kept = photo.attributes.keys() - {"look"} - seen
        assert all(scan.attributes[name] == photo.attributes[name] for name in kept)
        assert (photo.attributes["look"], scan.attributes["look"]) == ("photo", "scan")
        assert scan.prompt.startswith("a scan model of ")
        assert scan.prompt.endswith(SCAN_LIGHT_WORD[scan.attributes["lighting"]])  # type: ignore[index]
        assert "photo" not in scan.prompt


def test_scans_are_deterministic_and_relit(scans: dict[str, Phantom]) -> None:
    first, second = render_patient(7, 2, 96, ("left",), lightings=2, look="scan")
    assert (first.picture == scans["left"].picture).all()
    assert second.key == "s7-p000002-scan-left-l1"
    assert {name for name in first.maps if (first.maps[name] != second.maps[name]).any()} == {"light"}
    assert (first.picture != second.picture).any()


def test_prompts_of_scans_tell_the_truth() -> None:
    """Inflamed margins are redder than the gum around them; others hardly are."""
    redness: dict[bool, list[float]] = {True: [], False: []}
    for number in range(12):
        for scan in render_patient(21, number, 64, ("frontal",), look="scan"):
            gum = scan.maps["seg"] == GINGIVA
            near = gum & binary_dilation(scan.maps["seg"] == TOOTH, iterations=3)
            red = rgb_to_lab(scan.picture)[..., 1]
            redness["inflamed gums" in scan.prompt].append(red[near].mean() - red[gum & ~near].mean())
    assert np.mean(redness[True]) > np.mean(redness[False]) + 2


def test_the_base_closes_the_cast_and_looks_outwards() -> None:
    patient = build_patient(7, "s7-p000002")
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
