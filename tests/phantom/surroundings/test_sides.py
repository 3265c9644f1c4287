"""Sheets along the sides lie between camera and teeth, cover a side and leave the middle free."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dentgen.phantom.camera import Camera, sample_camera
from dentgen.phantom.mesh import Tissue, join_parts
from dentgen.phantom.surroundings.sides import CLOTH, GLOVE, build_sides
from dentgen.seeding import numpy_generator


def camera(number: int) -> Camera:
    return sample_camera("frontal", 40.0, numpy_generator("sides", number))


def in_picture(seen_by: Camera, vertices: np.ndarray) -> np.ndarray:
    """Picture coordinates (n, 2), -1..1 within the frame."""
    local = (vertices - seen_by.eye) @ seen_by.axes.T
    return local[:, :2] / -local[:, 2:] / (seen_by.width_mm / 2 / seen_by.distance_mm)


def test_they_come_from_outside_and_leave_the_middle_free() -> None:
    counts = []
    for number in range(60):
        parts = build_sides(camera(number), numpy_generator("sheet", number))
        counts.append(len(parts))
        for part in parts:
            places = in_picture(camera(number), part.vertices)
            edge, end = places.reshape(24, 48, 2)[[0, -1]]
            assert np.abs(end).max(-1).min() > 1.3, "it ends within the picture"
            assert np.linalg.norm(edge, axis=1).min() > 0.2, "it covers the middle"
            before = (part.vertices - camera(number).eye) @ -camera(number).axes[2]
            assert before.min() > 0
            assert before.max() < camera(number).distance_mm
            assert (join_parts([part]).normals @ camera(number).axes[2] > 0).mean() > 0.9
    assert set(counts) == {1, 2, 3}


def test_all_kinds_occur_and_cloth_is_told_from_the_ground() -> None:
    parts = [part for number in range(40) for part in build_sides(camera(number), numpy_generator("kind", number))]
    assert {part.tissue for part in parts} == {Tissue.SKIN, Tissue.FINGER, Tissue.GROUND}
    for part in parts:
        if part.tissue is Tissue.GROUND:
            assert (part.attributes["height"] == CLOTH).all()
        if part.tissue is Tissue.FINGER:
            assert (part.attributes["height"] == GLOVE).all(), "it would be taken for the prop"
    red = [(part.attributes["margin_mm"] < 0).any() for part in parts if part.tissue is Tissue.SKIN]
    assert {True, False} == {bool(each) for each in red}, "some of the skin ends in a lip"


def test_a_camera_that_nearly_touches_the_teeth_has_none() -> None:
    near = replace(camera(0), distance_mm=30.0)
    assert build_sides(near, numpy_generator("near")) == []
