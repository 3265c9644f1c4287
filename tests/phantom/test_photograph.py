"""Photographs are exposed for teeth and develop to sRGB; scan models stand sharp on flat grey."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from dentgen.phantom.camera import VIEWS, View
from dentgen.phantom.light import neutral, sample_lighting
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.patient import build_patient
from dentgen.phantom.photo_session import PhotoSession, Shot
from dentgen.phantom.photograph import SCAN_BACKGROUND, _tone, photograph, scan_render
from dentgen.phantom.surroundings.exposure import sample_exposure
from dentgen.quality.metrics import luminance
from dentgen.seeding import numpy_generator

LIGHT = sample_lighting(numpy_generator("photograph"), {"harsh"})


@pytest.fixture(scope="module")
def shot() -> Shot:
    return PhotoSession(7, build_patient(7, "s7-p000002"), 64).shoot("frontal")


@pytest.fixture(scope="module")
def scans() -> dict[View, Shot]:
    session = PhotoSession(7, build_patient(7, "s7-p000002"), 64, "scan")
    return {view: session.shoot(view) for view in VIEWS}


def developed(shot: Shot, target: float = 0.7, number: int = 0) -> np.ndarray:
    return photograph(shot.sight, replace(LIGHT, target=target), numpy_generator("grain", number))


def test_tones_are_srgb_up_to_the_shoulder_and_compressed_above() -> None:
    """Oracle: the decoding of sRGB in ``quality.metrics``."""
    linear = np.linspace(0, 0.6, 50)
    levels = np.round(255 * _tone(linear)).astype(np.uint8)
    grey = np.repeat(levels[:, None], 3, 1)
    assert luminance(grey) == pytest.approx(linear, abs=0.006)
    bright = _tone(np.array([0.6, 1.0, 2.0, 50.0]))
    assert (np.diff(bright) > 0).all()
    assert bright[-1] == pytest.approx(1, abs=1e-3)


@pytest.mark.integration
def test_exposure_brings_teeth_to_the_target(shot: Shot) -> None:
    teeth = shot.maps["fdi"] > 0
    medians = [float(np.median(luminance(developed(shot, target))[teeth])) for target in (0.3, 0.5)]
    assert medians == pytest.approx([0.3, 0.5], abs=0.06)


def test_depth_of_field_blurs_all_but_the_teeth(shot: Shot) -> None:
    sharp = replace(sample_exposure(0.0, 0.0, 40.0, numpy_generator("sharp")), defocus=0.0)
    pictures = [
        photograph(shot.sight, LIGHT, numpy_generator("grain"), exposure).astype(int)
        for exposure in (sharp, replace(sharp, defocus=4.0))
    ]
    centres = shot.sight.centres.surface
    change = np.abs(pictures[0] - pictures[1]).max(-1).ravel()
    teeth = centres.tissue == Tissue.TOOTH
    middle = np.median(centres.depth_mm[teeth])
    focused = teeth & (np.abs(centres.depth_mm - middle) < 1)
    away = centres.hit & (np.abs(centres.depth_mm - middle) > 15)
    assert change[away].mean() > 2 * change[focused].mean()
    assert change[away].mean() > 3


def test_grain_is_the_stream_s_and_weak(shot: Shot) -> None:
    first, again, other = developed(shot), developed(shot), developed(shot, number=1)
    assert (first == again).all()
    assert (first != other).any()
    assert np.abs(first.astype(int) - other).mean() < 3


def test_the_vignette_darkens_corners_and_not_the_middle(shot: Shot) -> None:
    plain, dark = (
        photograph(shot.sight, replace(LIGHT, vignette=vignette), numpy_generator("grain")).astype(int)
        for vignette in (0.0, 0.8)
    )
    corners, middle = np.s_[[0, 0, -1, -1], [0, -1, 0, -1]], np.s_[30:34, 30:34]
    assert (dark[corners] < plain[corners]).all()
    assert np.abs(dark[middle] - plain[middle]).max() <= 2


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_scan_models_stand_on_flat_grey_and_nothing_else_is_flat(scans: dict[View, Shot], view: View) -> None:
    shot = scans[view]
    picture, seg = scan_render(shot.sight, neutral(LIGHT)), shot.maps["seg"]
    empty = ~binary_dilation(seg > 0, np.ones((3, 3)))
    assert empty.any()
    assert SCAN_BACKGROUND == 59
    assert (picture[empty] == SCAN_BACKGROUND).all()
    assert (picture[seg > 0] == SCAN_BACKGROUND).all(-1).mean() < 0.01
