"""Strings of saliva span gaps, lie before everything, and add light without changing a label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dentgen.phantom.light import sample_lighting
from dentgen.phantom.mesh import Tissue
from dentgen.phantom.patient import build_patient
from dentgen.phantom.photo_session import PhotoSession, Shot
from dentgen.phantom.surroundings import strands
from dentgen.phantom.surroundings.strands import _CLEARANCE_MM, _every_half_pixel, _spanned, sample_strands
from dentgen.seeding import numpy_generator

SIZE = 96


@pytest.fixture(scope="module")
def shot() -> Shot:
    """An arch from above: its gaps lie between teeth, tongue and cheek."""
    return PhotoSession(7, build_patient(7, "s7-p000002"), SIZE).shoot("lower-occlusal")


def drawn(shot: Shot, count: int) -> list[np.ndarray | None]:
    surface, camera = shot.sight.centres.surface, shot.sight.camera
    return [sample_strands(surface, camera, SIZE, numpy_generator("strands", number)) for number in range(count)]


def test_some_pictures_have_strings(shot: Shot) -> None:
    found = [light is not None for light in drawn(shot, 100)]
    assert 2 <= sum(found) <= 25


def test_a_string_spans_a_gap_between_a_tooth_and_something_near(shot: Shot) -> None:
    surface, camera = shot.sight.centres.surface, shot.sight.camera
    teeth = surface.position[surface.tissue == Tissue.TOOTH]
    lines = [_spanned(surface, camera, SIZE, numpy_generator("span", number)) for number in range(20)]
    assert sum(line is not None for line in lines) >= 10
    for line in lines:
        if line is None:
            continue
        assert np.linalg.norm(teeth - line[0], axis=1).min() < 1e-6
        assert 3 <= np.linalg.norm(line[-1] - line[0]) <= 13
        column, row = camera.project(line, SIZE)
        behind = surface.depth_mm[row.astype(int) * SIZE + column.astype(int)]
        depth = -(line - camera.eye) @ camera.axes[2]
        assert (behind - depth)[len(line) // 5 : -len(line) // 5].min() > _CLEARANCE_MM


def test_where_rays_hit_nothing_nothing_is_in_the_way(shot: Shot) -> None:
    """A ray that misses has a depth, too, which says nothing."""
    surface, camera = shot.sight.centres.surface, shot.sight.camera
    missed = ~np.isin(surface.tissue, (Tissue.TOOTH, Tissue.GUM))
    found = []
    for depth in (0.0, 1e6):
        behind = replace(surface, hit=~missed, depth_mm=np.where(missed, depth, surface.depth_mm))
        found.append([_spanned(behind, camera, SIZE, numpy_generator("miss", number)) for number in range(20)])
    assert sum(line is not None for line in found[0]) >= 10
    for near, far in zip(*found, strict=True):
        np.testing.assert_equal(near, far)


def test_strings_are_thin_and_hide_nothing(shot: Shot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strands, "_SHARE", 1.0)
    (light,) = (found for found in drawn(shot, 1))
    assert light is not None
    assert 0 < light.max() <= 1
    assert 0 < (light > 0.05).mean() < 0.05
    lamps = sample_lighting(numpy_generator("light"), {"harsh"})
    plain, strung = shot.picture(lamps, ""), replace(shot, strands=light).picture(lamps, "")
    brighter = strung.astype(int) - plain
    assert brighter[light > 0.3].mean() > 3
    assert np.abs(brighter[light == 0]).mean() < 1, "glare alone reaches farther"


def test_a_line_has_points_at_every_half_pixel() -> None:
    column, row = _every_half_pixel(np.array([0.0, 30.0, 30.0]), np.array([0.0, 40.0, 41.0]))
    steps = np.hypot(np.diff(column), np.diff(row))
    assert steps.max() <= 0.5
    assert (column[-1], row[-1]) == (30.0, 41.0)
    assert steps.sum() == pytest.approx(51.0, abs=0.01)
